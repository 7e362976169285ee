"""Menders of a line's text, before it is a record."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from anytune.data.fix.mender import LineMender, Mender, Path, Record, once
from anytune.data.fix.tool import literal

_SURROGATE = re.compile("[\ud800-\udfff]")
_WINDOWS_1252 = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
_HUGE = 2**63


class _DifferError(Exception):
    """End the reading at a key that stands twice with two values."""


def written(value: Any, *, like: bytes) -> bytes:
    """Write a value as JSON in the manner of a line: with spaces or without, escaped or not."""
    spaced = b'": ' in like or b'", ' in like
    text = json.dumps(value, ensure_ascii=b"\\u" in like, separators=(", ", ": ") if spaced else (",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half characters can only be written as escapes
        return json.dumps(value, separators=(", ", ": ") if spaced else (",", ":")).encode()


def _cut_comma(line: bytes) -> bytes | None:
    cut = line.strip().rstrip(b", \t\r\n")
    return cut if cut.endswith(b"}") else None


def _guess_encoding(line: bytes) -> bytes | None:
    """Read the bytes that are no UTF-8 as Windows-1252, the likeliest other encoding."""
    return line.decode(errors="surrogateescape").translate(_WINDOWS_1252).encode(errors="replace")


def _escape_controls(line: bytes) -> bytes | None:
    try:
        return written(json.loads(line, strict=False), like=line)
    except (ValueError, RecursionError):
        return None


def _from_python(line: bytes) -> bytes | None:
    try:
        value = literal(line.decode())
    except UnicodeDecodeError:
        return None
    return written(value, like=line) if isinstance(value, dict) else None


def _unpack(line: bytes) -> bytes | None:
    """Take the object out of a string that holds one, and make a chat of a bare list of messages."""
    try:
        value = json.loads(line)
        value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        value = {"messages": value}
    return written(value, like=line) if isinstance(value, dict) else None


def _one_of_equals(line: bytes) -> bytes | None:
    def pairs(found: list[tuple[str, Any]]) -> Record:
        made: Record = {}
        for key, value in found:
            if key in made and written(made[key], like=b"") != written(value, like=b""):
                raise _DifferError
            made[key] = value
        return made

    try:
        return _reread(line, object_pairs_hook=pairs)
    except _DifferError:
        return None


def _keep_last(line: bytes) -> bytes | None:
    return _reread(line)


def _null_for_nan(line: bytes) -> bytes | None:
    return _reread(line, parse_constant=lambda _: None)


def _text_for_huge(line: bytes) -> bytes | None:
    def whole(text: str) -> Any:
        return int(text) if len(text) < 21 and -_HUGE <= int(text) < _HUGE else text

    def real(text: str) -> Any:
        return text if math.isinf(float(text)) else float(text)

    return _reread(line, parse_int=whole, parse_float=real)


def _reread(line: bytes, **hooks: Any) -> bytes | None:
    try:
        return written(json.loads(line, **hooks), like=line)
    except (ValueError, RecursionError):
        return None


def _whole_characters(record: Record, _: Path) -> str | None:
    return _in_strings(record, lambda text: _SURROGATE.sub("\ufffd", text))


def _without_nul(record: Record, _: Path) -> str | None:
    return _in_strings(record, lambda text: text.replace("\0", ""))


def _in_strings(record: Record, change: Callable[[str], str]) -> str | None:
    """Change the strings of a whole record, keys too, if that makes no two keys one."""

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [changed(one) for one in value]
        if isinstance(value, dict):
            made = {change(key): changed(one) for key, one in value.items()}
            return made if len(made) == len(value) else {key: changed(one) for key, one in value.items()}
        return value

    new = changed(record)
    if new == record:
        return None
    record.clear()
    record.update(new)
    return ""


LINE_MENDERS = (
    LineMender("trailing-comma", "remove the comma after the record", _cut_comma),
    LineMender("not-utf-8", "read bytes that are no UTF-8 as Windows-1252", _guess_encoding, asks=True),
    LineMender("invalid-json", "escape raw control characters", _escape_controls),
    LineMender("invalid-json", "write Python's spelling as JSON", _from_python),
    LineMender("not-an-object", "take the record out of its wrapping", _unpack),
    LineMender("nan-or-infinity", "write NaN and Infinity as null", _null_for_nan, asks=True),
    LineMender("number-out-of-range", "write numbers beyond 64 bits as text", _text_for_huge, asks=True),
    LineMender("duplicate-key", "keep one of two equal keys with equal values", _one_of_equals),
    LineMender("duplicate-key", "keep the last of two equal keys", _keep_last, asks=True),
)
CHARACTER_MENDERS = (
    Mender("lone-surrogate", "write half characters as \ufffd", once(_whole_characters), asks=True),
    Mender("nul-character", "remove the NUL character", once(_without_nul), asks=True),
)
# While one of these holds, a record cannot be written anew without losing something that nobody agreed to.
AS_IT_STANDS = frozenset({"nested-too-deep", "nan-or-infinity", "number-out-of-range", "duplicate-key"})
