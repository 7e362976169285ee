"""What a scan found: counts, and samples that show none of the values."""

from __future__ import annotations

import re
from typing import NamedTuple

PLACEHOLDER = re.compile(r"<([A-Z]+(?:_[A-Z]+)*)_([0-9]{1,9})>")
_LAST_DIGITS = frozenset({"phone", "card", "national-id"})


class Finding(NamedTuple):
    """Name the kind of a value that stands at [start, end) of a text, in characters."""

    kind: str
    start: int
    end: int


def masked(kind: str, value: str) -> str:
    """Hint at a value by its ends and its length, never more."""
    if kind == "private-key":
        return f"PEM ({len(value)} characters)"
    shown = value[-2:] if kind in _LAST_DIGITS else value[-1:]
    head = "" if kind in _LAST_DIGITS else value[:1]
    hint = "".join(c if c.isprintable() else "\ufffd" for c in f"{head}…{shown}")
    return f"{hint} ({len(value)} characters)"
