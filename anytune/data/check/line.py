"""Look at one line closely: read its JSON and add every fault of the line itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from anytune.data.check import scan
from anytune.data.check.fault import Fault
from anytune.data.check.garble import garbled, is_suspect
from anytune.data.check.record import check_record
from anytune.data.check.sound import DEEPEST, is_crowded, is_suspicious, is_too_deep
from anytune.data.quote import Plain
from anytune.schema.data import DataMethod

_decode = msgspec.json.Decoder().decode
_MOST_DIGITS = 400


def _whole(digits: str) -> float:
    """Read a whole number; one that no float holds is infinite, for Python refuses to read thousands of digits."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_read_python = json.JSONDecoder(parse_int=_whole)


def examine(line: bytes, method: DataMethod, faults: list[Fault]) -> dict[str, Any] | None:
    """Return the record that a line holds, None if it holds none, having added every fault of the line itself."""
    written = None
    try:
        value = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        value, sound = _read_broken(line, faults)
        if not sound:
            return None
    else:
        written = _written(value)
        if written is None or is_suspicious(line, value, written):
            found, ended = scan.faults(line)
            faults += found
            if ended:
                return None
    if value.__class__ is not dict:
        faults.append(Fault("not-an-object", (), value))
        return None
    check_record(value, method, faults)
    if written is None or (not written.isascii() and is_suspect(written.decode())):
        faults += garbled(value)
    return value


def record_in(line: bytes, method: DataMethod) -> dict[str, Any] | None:
    """Return the record that `examine` finds in a line, without looking for faults where there is no need to."""
    try:
        value = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return examine(line, method, [])
    if is_crowded(line) and is_too_deep(value):
        return None
    return value if value.__class__ is dict else None


def _read_broken(line: bytes, faults: list[Fault]) -> tuple[Any, bool]:
    """Read what msgspec refuses: Python's parser walks past some faults, so that the rest can be checked."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        faults.append(Fault("not-utf-8", (), Plain(f"0x{line[error.start]:02x}"), offset=error.start))
        return None, False
    if _is_cut_off(line):
        faults.append(Fault("invalid-json"))  # what breaks it is worked out if it is shown
        return None, False
    try:
        value, end = _read_python.raw_decode(text, len(text) - len(text.lstrip(" \t\r")))
    except ValueError:
        if line.count(b"[") + line.count(b"{") <= DEEPEST:
            faults.append(Fault("invalid-json"))
            return None, False
    except RecursionError:
        pass
    else:
        if text[end:].strip() not in ("", ","):
            faults.append(Fault("invalid-json"))
            return None, False
        found, ended = scan.faults(line)
        faults += found or [Fault("invalid-json", (), Plain("it cannot be parsed"), offset=0)]
        return value, bool(found) and not ended
    found, _ = scan.faults(line)
    faults += found or [Fault("invalid-json", (), Plain("it cannot be parsed"), offset=0)]
    return None, False


def _is_cut_off(line: bytes) -> bool:
    """Tell whether an object begins but does not end, which no parser walks past."""
    ends = line.strip()
    unended = ends[:1] == b"{" and ends[-1:] not in (b"}", b",") and ends.isascii()
    return unended and line.count(b"[") + line.count(b"{") <= DEEPEST


def _written(value: Any) -> bytes | None:
    """Write a value anew; return None if it is too deep."""
    try:
        return msgspec.json.encode(value)
    except RecursionError:
        return None
