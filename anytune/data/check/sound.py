"""Tell at the parser's speed that there is nothing to say of the JSON of a line."""

from __future__ import annotations

from typing import Any

import msgspec

from anytune.data.check.pattern import UPSETTING

DEEPEST = 64
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))  # all digits alike, all others white
_LONG_NUMBER = b"0" * 19
_decode = msgspec.json.Decoder().decode


def is_sound(line: bytes) -> bool:
    """Tell quickly of a line with many brackets, which are seldom nested, that no walk would find a fault in it.

    Written anew it has fewer colons if a key stands in it twice.
    """
    try:
        value = _decode(line)
        written = msgspec.json.encode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    if line.count(b":") != written.count(b":") or UPSETTING.search(line) or has_long_number(line):
        return False
    return not is_too_deep(value)


def is_too_deep(value: object) -> bool:
    """Tell whether objects and lists are nested more than DEEPEST deep in a value."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for held in level
            for inner in (held.values() if held.__class__ is dict else held)
            if inner.__class__ is dict or inner.__class__ is list
        ]
    return bool(level)


def has_long_number(line: bytes) -> bool:
    """Tell whether so many digits stand in a row that they may be more than 64 bits."""
    return _LONG_NUMBER in line.translate(_DIGITS)
