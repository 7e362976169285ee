"""Cut a stream of JSON values that are spread over lines, or are one array, into one line each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from anytune.data.lines import CHUNK, LONGEST
from anytune.errors import RefusedError

_MARK = re.compile(rb'["\[\]{}]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+(")?', re.DOTALL)
_BREAK = re.compile(rb"[ \t\r]*+\n[ \t\r\n]*+")
_BETWEEN = b" \t\r\n,"
Value = tuple[int, bytes | None]


class Values:
    """Iterate over (number of its first line, value on one line); a value that is too long is None.

    An outer array is taken off. What stands between the values is left out if it is commas and white space, else
    it is a value of its own, for the check to refuse. Raises `RefusedError` for a value that is never closed.
    """

    def __init__(self, stream: BinaryIO, *, in_array: bool, chunk: int = CHUNK, longest: int = LONGEST) -> None:
        self._stream = stream
        self._chunk = chunk
        self._longest = longest
        self._in_array = in_array
        self._floor = 0  # the depth at which values stand
        self._depth = 0
        self._in_string = False
        self._pieces: list[bytes] = []
        self._length = 0
        self._line = self._first_line = 1

    def __iter__(self) -> Iterator[Value]:
        rest = b""
        while chunk := self._stream.read(self._chunk):
            data = rest + chunk
            whole = data.rstrip(b"\\")  # a backslash at the end may belong to a quote that has not been read
            rest = data[len(whole) :]
            yield from self._take(whole)
        yield from self._take(rest)
        if self._depth or self._in_string:
            raise RefusedError(
                f"the JSON that starts on line {self._first_line} is never closed", fix="mend that place by hand"
            )
        yield from self._close()

    def _take(self, data: bytes) -> Iterator[Value]:
        at = start = counted = 0
        while at < len(data):
            if self._in_string:
                found = _STRING_REST.match(data, at)
                self._in_string = found is None or found[1] is None
                at = found.end() if found else len(data)
                if self._in_string:
                    break
                continue
            mark = _MARK.search(data, at)
            if mark is None:
                break
            at = mark.end()
            if mark[0] == b'"':
                self._in_string = True
            elif mark[0] in b"[{":
                if self._depth <= self._floor:
                    self._keep(data[start : mark.start()])
                    yield from self._close()
                    self._line += data.count(b"\n", counted, at)
                    self._first_line, counted = self._line, at
                    start = at if self._is_outer(mark[0]) else mark.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth <= self._floor:
                    self._keep(data[start : at if self._depth == self._floor else mark.start()])
                    start = at
                    yield from self._close()
        self._line += data.count(b"\n", counted)
        self._keep(data[start:])

    def _is_outer(self, opening: bytes) -> bool:
        """Tell whether a bracket opens the array around the values; one outside of it is a value's own."""
        if self._depth == 0:
            self._floor = int(self._in_array and opening == b"[")
            return bool(self._floor)
        return False

    def _keep(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._longest:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _close(self) -> Iterator[Value]:
        """Yield what was kept, unless it only separates values."""
        if self._length > self._longest:
            yield self._first_line, None
        elif value := b"".join(self._pieces).strip(_BETWEEN):
            yield self._first_line, _on_one_line(value)
        self._pieces.clear()
        self._length = 0


def _on_one_line(value: bytes) -> bytes:
    """Fold line ends; one within a string, where JSON does not allow it, stays a line end as an escape."""
    if b"\n" not in value:
        return value
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        try:
            return json.dumps(json.loads(value, strict=False)).encode()
        except (ValueError, RecursionError):
            pass
    return _BREAK.sub(b" ", value)
