"""Walk one line of JSON by hand, without recursion: exact faults of syntax, and where each value stands.

Slow next to msgspec, so it sees only lines that msgspec refused or that look suspicious, and those whose
issues are shown.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Set
from typing import NamedTuple, NoReturn

from anytune.data.check.fault import Fault, Path
from anytune.data.quote import Plain

DEEPEST = 64
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))  # all digits alike, all others white
_LONG_NUMBER = b"0" * 19
_MOST_STEPS = 3_000_000
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')
_SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null")
_NOT_FINITE = re.compile(rb"-?Infinity|NaN")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)")
_ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_PYTHON = re.compile(rb"True|False|None|'|undefined")


class _BrokenError(Exception):
    """End the walk at a fault that leaves no sense in the rest."""


class _Frame:
    """Be one open object (with the keys seen) or list (keys None)."""

    __slots__ = ("count", "keys")

    def __init__(self, keys: set[str] | None) -> None:
        self.keys = keys
        self.count = 0


class Place(NamedTuple):
    """Hold the byte offsets of a value and of its key; a list's element has no key."""

    key: int | None
    value: int


def faults(line: bytes) -> tuple[list[Fault], bool]:
    """Return the faults of the JSON itself, and whether the walk ended early at one of them."""
    walk = _Walk(line, frozenset())
    try:
        walk.run()
    except _BrokenError:
        return walk.faults, True
    return walk.faults, False


def places(line: bytes, wanted: Set[Path]) -> dict[Path, Place]:
    """Return where the wanted paths stand, in one walk; a path behind broken JSON is left out."""
    walk = _Walk(line, wanted)
    with contextlib.suppress(_BrokenError):
        walk.run()
    return walk.places


def has_long_number(line: bytes) -> bool:
    """Tell whether so many digits stand in a row that they may be more than 64 bits."""
    return _LONG_NUMBER in line.translate(_DIGITS)


class _Walk:
    def __init__(self, line: bytes, wanted: Set[Path]) -> None:
        self.line = line.rstrip(b"\r")  # the line's end, which is no text of the record
        self.wanted = wanted
        self.at = 0
        self.path: list[str | int] = []
        self.stack: list[_Frame] = []
        self.faults: list[Fault] = []
        self.places: dict[Path, Place] = {}

    def run(self) -> None:
        self._value(None)
        for _ in range(_MOST_STEPS):
            if not self.stack:
                self._end()
                return
            self._step(self.stack[-1])

    def _step(self, frame: _Frame) -> None:
        closing = b"]" if frame.keys is None else b"}"
        if self._peek() == closing:
            self._close()
            return
        if frame.count:
            if self._peek() != b",":
                self._broken(f"a comma or {closing.decode()} is missing")
            self.at += 1
            if self._peek() == closing:
                self._broken(f"a comma before {closing.decode()}")
        frame.count += 1
        if frame.keys is None:
            self.path.append(frame.count - 1)
            self._value(None)
        else:
            self._member(frame.keys)

    def _member(self, keys: set[str]) -> None:
        if self._peek() != b'"':
            self._broken("a key in double quotes is missing")
        start = self.at
        key: str = json.loads(self._string().decode())
        self.path.append(key)
        if key in keys:
            self._note("duplicate-key", key, start)
        keys.add(key)
        if self._peek() != b":":
            self._broken("a colon is missing after the key")
        self.at += 1
        self._value(start)

    def _value(self, key: int | None) -> None:
        first = self._peek()
        if self.wanted and (path := tuple(self.path)) in self.wanted:
            self.places[path] = Place(key, self.at)  # of equal keys, parsers keep the last
        if first in (b"{", b"["):
            if len(self.stack) == DEEPEST:
                self._note("nested-too-deep", None, self.at)
                raise _BrokenError
            self.stack.append(_Frame(set() if first == b"{" else None))
            self.at += 1
            return
        if first == b'"':
            self._string()
        else:
            self._scalar()
        if self.path:
            self.path.pop()

    def _close(self) -> None:
        self.at += 1
        self.stack.pop()
        if self.path:
            self.path.pop()

    def _string(self) -> bytes:
        start = self.at
        found = _STRING.match(self.line, start)
        self.at = found.end() if found else start
        last = self.line[self.at : self.at + 1]
        if last == b"\\":
            self._broken("an escape that JSON does not have")
        if not last:
            self._broken("a string is not closed")
        if last != b'"':
            self._broken("a raw control character in a string")
        self.at += 1
        text = self.line[start : self.at]
        if b"\\u" in text and _ODD_ESCAPE.search(text):
            self._escapes(text, start)
        return text

    def _escapes(self, text: bytes, start: int) -> None:
        """Note the first half character and the first NUL of a string."""
        found: dict[str, re.Match[bytes]] = {}
        kinds = 2 if b"\\u0000" in text else 1
        high: re.Match[bytes] | None = None
        for escape in _ESCAPE.finditer(text):
            code = int(escape[1], 16) if escape[1] else -1
            low = 0xDC00 <= code <= 0xDFFF
            paired = low and high is not None and escape.start() == high.end()
            if high and not paired:
                found.setdefault("lone-surrogate", high)
            if low and not paired:
                found.setdefault("lone-surrogate", escape)
            if code == 0:
                found.setdefault("nul-character", escape)
            high = escape if 0xD800 <= code <= 0xDBFF else None
            if len(found) == kinds:
                break
        if high:
            found.setdefault("lone-surrogate", high)
        for kind, escape in found.items():
            self._note(kind, Plain(escape[0].decode()), start + escape.start())

    def _scalar(self) -> None:
        if found := _SCALAR.match(self.line, self.at):
            text = found[0]
            if text[0] not in b"tfn" and _is_out_of_range(text):
                shown = text[:20].decode() + ("…" if len(text) > 20 else "")
                self._note("number-out-of-range", Plain(shown), self.at)
        elif found := _NOT_FINITE.match(self.line, self.at):
            self._note("nan-or-infinity", Plain(found[0].decode()), self.at)
        elif self.at >= len(self.line):
            self._broken("it ends too early")
        elif _PYTHON.match(self.line, self.at):
            self._broken("this is how Python writes it, not JSON")
        else:
            self._broken("a value is missing")
        self.at = found.end()

    def _end(self) -> None:
        rest = self._peek()
        if rest == b"," and not self.line[self.at + 1 :].strip():
            self._note("trailing-comma", None, self.at)
        elif rest:
            self._broken("more text follows after the value")

    def _peek(self) -> bytes:
        space = _SPACE.match(self.line, self.at)
        self.at = space.end() if space else self.at
        return self.line[self.at : self.at + 1]

    def _note(self, code: str, value: object, offset: int) -> None:
        self.faults.append(Fault(code, tuple(self.path), value, offset=offset))

    def _broken(self, what: str) -> NoReturn:
        self._note("invalid-json", Plain(what), self.at)
        raise _BrokenError


def _is_out_of_range(number: bytes) -> bool:
    if not number.lstrip(b"-").isdigit():
        return math.isinf(float(number))
    return len(number) > 18 and (len(number) > 20 or not -(2**63) <= int(number) < 2**64)
