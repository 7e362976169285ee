"""Find keys that stand twice in a record, of which every parser keeps the last without a word."""

from __future__ import annotations

from typing import Any

from anytune.data.check import scan
from anytune.data.path import Path


def repeated(value: Any, text: bytes) -> list[Path]:
    """Return where keys of a record stand again, given its JSON text.

    The text is walked only if it seems to hold more keys than the value.
    """
    if text.count(b'":') - text.count(b'\\":') == _keys(value):
        return []
    faults, _ = scan.faults(text)
    return [fault.path for fault in faults if fault.code == "duplicate-key"]


def _keys(value: Any) -> int:
    number, left = 0, [value]
    while left:
        one = left.pop()
        kind = type(one)
        if kind is dict:
            number += len(one)
            left += one.values()
        elif kind is list:
            left += one
    return number
