"""Undo JSON's escapes, also in text that is no JSON, and tell where each character came from."""

from __future__ import annotations

import re
from bisect import bisect_right

_DEEPEST = 3  # JSON within a string within JSON (a tool call's arguments), and once more
_ESCAPE = re.compile(r'\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|["\\/bfnrt])')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _Characters(dict[str, str]):
    def __missing__(self, escape: str) -> str:
        self[escape] = found = _character(escape)
        return found


_CHARACTERS = _Characters()  # Unicode bounds it, and text holds few of its characters


def plain(raw: str) -> str:
    """Return the text with each escape replaced by its character; what is no escape stays."""
    return _ESCAPE.sub(_replaced, raw) if "\\" in raw else raw


class Origins:
    """Map an offset in `plain(raw)` to the one in `raw`; it grows with the escapes only."""

    def __init__(self, raw: str) -> None:
        self._plain, self._raw = [0], [0]
        for escape in _ESCAPE.finditer(raw):
            self._plain.append(self._plain[-1] + escape.start() - self._raw[-1] + 1)
            self._raw.append(escape.end())

    def __getitem__(self, offset: int) -> int:
        nearest = bisect_right(self._plain, offset) - 1
        return self._raw[nearest] + offset - self._plain[nearest]


def layers(text: str) -> list[str]:
    """Return the text, and after it what stands in it without its escapes, as long as there are any."""
    found = [text]
    while len(found) <= _DEEPEST and (inner := plain(found[-1])) != found[-1]:
        found.append(inner)
    return found


def _replaced(escape: re.Match[str]) -> str:
    return _CHARACTERS[escape[0]]


def _character(escape: str) -> str:
    if escape[1] != "u":
        return _SHORT.get(escape[1], escape[1])
    codes = [int(code, 16) for code in escape.split("\\u")[1:]]
    return chr(codes[0] if len(codes) == 1 else 0x10000 + ((codes[0] & 0x3FF) << 10) + (codes[1] & 0x3FF))
