"""Read JSON values one after the other from a stream that is never held whole."""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import Any, BinaryIO

from anytune.data.lines import CHUNK, LONGEST

_SPACE = re.compile(r"[ \t\r\n\x1e]*")
_NEAR_END = 16  # an escape that is cut by the end of what was read is at most so long


class BrokenError(Exception):
    """End the reading at a place after which nothing can be made out."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


class NotFinite:
    """Stand for NaN and Infinity, which are no JSON and cannot be written."""


def _number(text: str) -> float | NotFinite:
    number = float(text)
    return number if math.isfinite(number) else NotFinite()


class Pull:
    """Take values and punctuation from UTF-8 JSON text; `line` counts from 1 and is that of the next character.

    `taken` is the text of the last value. What is held is what was read and not yet taken: a chunk, or one value that
    is longer than it.
    """

    def __init__(self, stream: BinaryIO, *, chunk: int = CHUNK) -> None:
        self._stream = stream
        self._chunk = chunk
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._parse = json.JSONDecoder(parse_constant=_number, parse_float=_number).raw_decode
        self._text, self._at, self._ended = "", 0, False
        self.line = 1
        self.taken = b""

    def peek(self) -> str:
        """Skip white space and return the next character, "" at the end."""
        while True:
            self._go(_SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def skip(self, wanted: str) -> bool:
        """Take the next character if it is the wanted one."""
        if self.peek() != wanted:
            return False
        self._go(self._at + 1)
        return True

    def expect(self, wanted: str) -> None:
        """Take the next character, which has to be the wanted one."""
        if not self.skip(wanted):
            found = self.peek()
            raise BrokenError(f'"{wanted}" expected, {found!r} found' if found else "it ends too early", self.line)

    def value(self) -> Any:
        """Take the next value whole."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or not self._is_cut(error):
                    raise self._broken(error) from error
            except RecursionError as error:
                raise BrokenError("it is nested too deeply", self.line) from error
            except ValueError as error:  # Python reads whole numbers of so many digits only
                raise BrokenError("a number is too long", self.line) from error
            else:
                if end < len(self._text) or self._ended:
                    self.taken = self._text[self._at : end].encode(errors="replace")
                    self._go(end)
                    return value
            self._more()

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _NEAR_END

    def _broken(self, error: json.JSONDecodeError) -> BrokenError:
        line = self.line + self._text.count("\n", self._at, error.pos)
        return BrokenError(f"{error.msg[:1].lower()}{error.msg[1:]}", line)

    def _go(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _more(self) -> None:
        """Read on, each time as much as is held, so that a long value is not parsed too often."""
        held = self._text[self._at :]
        if len(held) > LONGEST:
            raise BrokenError("a value is too long to be read", self.line)
        chunk = self._stream.read(max(self._chunk, len(held)))
        self._ended = not chunk
        try:
            self._text, self._at = held + self._decode(chunk, self._ended), 0
        except UnicodeDecodeError as error:
            raise BrokenError("it is not UTF-8", self.line + held.count("\n")) from error
