"""Count the columns of a line, which are characters from 1, while offsets are bytes."""

from __future__ import annotations

from collections.abc import Iterable


def columns(line: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """Return the column of each byte offset, in one sweep; bytes that are no UTF-8 count as an editor shows them."""
    found: dict[int, int] = {}
    seen, column = 0, 1
    for offset in sorted(set(offsets)):
        column += len(line[seen:offset].decode(errors="replace"))
        found[offset] = column
        seen = offset
    return found
