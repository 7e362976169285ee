"""Tell at the parser's speed whether the JSON of a line deserves to be walked through by hand."""

from __future__ import annotations

from itertools import chain
from typing import Any

DEEPEST = 64
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))  # all digits alike, all others white
_UPSETTING = (rb"\u0000", rb"\u003a", rb"\u003A")  # NUL, and a colon that would upset a count of them
_LONG_NUMBER = b"0" * 19


def is_suspicious(line: bytes, value: object, written: bytes) -> bool:
    """Tell whether a line may hold duplicate keys, NUL, huge integers or deep nesting.

    Each key has a colon after it, so a line with more colons than its value has when it is `written` anew has a key
    twice. Many brackets are seldom nested: only then is the depth measured.
    """
    if line.count(b":") != written.count(b":") or is_upsetting(line) or has_long_number(line):
        return True
    return is_crowded(line) and is_too_deep(value)


def is_crowded(line: bytes) -> bool:
    """Tell whether a line has brackets enough to be nested too deeply."""
    return line.count(b"{") + line.count(b"[") > DEEPEST


def is_upsetting(line: bytes) -> bool:
    """Tell whether a line holds NUL, or a colon written so that it would upset a count of them."""
    return b"\\" in line and any(odd in line for odd in _UPSETTING)


def is_too_deep(value: object, *, levels: int = DEEPEST) -> bool:
    """Tell whether objects and lists are nested more than so many levels deep in a value."""
    within: list[Any] = [value]
    for _ in range(levels + 1):
        objects = [held for held in within if held.__class__ is dict]
        lists = [held for held in within if held.__class__ is list]
        if not objects and not lists:
            return False
        within = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(lists)]
    return True


def has_long_number(line: bytes) -> bool:
    """Tell whether so many digits stand in a row that they may be more than 64 bits."""
    return _LONG_NUMBER in line.translate(_DIGITS)
