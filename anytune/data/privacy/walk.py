"""Walk through the lines of a text in which something stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Find = Callable[[bytes, int], int]  # the first place, from a given one on, at which something stands; -1 if none is


def each_line(text: bytes, find: Find) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line in which something stands, without its line feed."""
    start = end = 0
    while (at := find(text, end)) >= 0:
        start = text.rfind(b"\n", start, at) + 1 or start
        end = text.find(b"\n", at)
        if end < 0:
            end = len(text)
        yield start, end


def literal(wanted: bytes) -> Find:
    """Find plain bytes."""
    return lambda text, at: text.find(wanted, at)


def first(pattern: re.Pattern[bytes]) -> Find:
    """Find a pattern."""

    def find(text: bytes, at: int) -> int:
        found = pattern.search(text, at)
        return found.start() if found else -1

    return find
