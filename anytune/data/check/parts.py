"""Survey a large file in parts, side by side in threads: most of the work is done without the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from itertools import pairwise
from threading import Event
from typing import BinaryIO, TypeVar

from anytune.data.check.seen import native

PART = 4 << 20  # bytes; of the last parts
LARGE = 64 << 20
_LINES = 1 << 16  # bytes, in which a line mostly ends
_SHARE = 4  # a part is the fourth of what is left, so that all threads end at about the same time

Result = TypeVar("Result")


def cuts(stream: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return the byte ranges of a file's parts, each ending with a line feed."""
    borders = [0]
    while (part := max(PART, (size - borders[-1]) // _SHARE)) < size - borders[-1]:
        borders.append(_next_line(stream, borders[-1] + part, size))
    if borders[-1] < size or size == 0:
        borders.append(size)
    return list(pairwise(borders))


def _next_line(stream: BinaryIO, at: int, size: int) -> int:
    """Return where the first line after a byte begins, at most `size`."""
    stream.seek(at)
    while chunk := stream.read(_LINES):
        end = chunk.find(b"\n") + 1
        if end:
            return at + end
        at += len(chunk)
    return size


def workers_for(size: int) -> int:
    """Return how many threads are worth while: the part that is not compiled keeps the interpreter to itself."""
    return min(2, os.cpu_count() or 1) if native is not None and size >= LARGE else 1


def each(
    work: Callable[[int, Event], Result], number: int, *, workers: int, meanwhile: Callable[[], None]
) -> Generator[Result, None, None]:
    """Yield the result of `work` for 1 to `number` - 1, in order, and then for 0, which takes longest and begins first.

    What is interrupted sets the event that each is given. `meanwhile` is done here, beside them.
    """
    from concurrent.futures import ThreadPoolExecutor  # small files do without it

    stop = Event()
    with ThreadPoolExecutor(workers) as pool:
        first, *others = (pool.submit(work, index, stop) for index in range(number))
        waiting = [first, *reversed(others)]
        del first, others  # a result that was taken is kept no longer
        try:
            meanwhile()
            while waiting:
                yield waiting.pop().result()
        finally:
            stop.set()
            for future in waiting:
                future.cancel()
