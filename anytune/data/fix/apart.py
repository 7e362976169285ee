"""Take apart records that stand on one line, or between carriage returns."""

from __future__ import annotations

import json
import re

import msgspec

from anytune.data.fix.record import Step

_TWO_RECORDS = re.compile(r"}[ \t\r,]*{")
_BETWEEN = re.compile(r"[ \t\r,]*")
_AS_SPACE = Step("lone-carriage-return", "write a space for a carriage return inside a record")
_AT_RETURNS = Step("lone-carriage-return", "end lines with a line feed")
_ONE_A_LINE = Step("invalid-json", "put records that stood on one line on a line each")


def apart(line: bytes) -> tuple[list[bytes], list[Step]]:
    """Return the records of a line, each without carriage returns, and what had to be done."""
    has_return = b"\r" in line
    if _is_json(line):
        # JSON allows a raw carriage return between values only.
        return ([line.replace(b"\r", b" ")], [_AS_SPACE]) if has_return else ([line], [])
    pieces = _pieces(line)
    if len(pieces) < 2:
        return [line], []
    return pieces, [_AT_RETURNS if has_return else _ONE_A_LINE]


def _pieces(line: bytes) -> list[bytes]:
    """Return the objects of a line that is nothing but objects, else nothing."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return []
    if not _TWO_RECORDS.search(text):
        return []
    decoder, found, at = json.JSONDecoder(), [], 0
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            if not isinstance(value, dict):
                return []
            found.append(text[at:end].replace("\r", " ").encode())
            between = _BETWEEN.match(text, end)
            at = between.end() if between else end
    except (ValueError, RecursionError):
        return []
    return found


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
