"""Survey a large file in parts, side by side in two processes where that is safe."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import BinaryIO, TypeVar

from anytune.data.lines import CHUNK

PART = 16 << 20
LARGE = 64 << 20
_MOST_PARTS = 6  # what is kept of each waits in memory until all are done
_TOKEN = 4

Result = TypeVar("Result")


def cuts(stream: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return the byte ranges of a file's parts, each ending with a line feed."""
    borders, part = [0], max(PART, size // _MOST_PARTS)
    while borders[-1] + part < size:
        borders.append(_next_line(stream, borders[-1] + part, size))
    if borders[-1] < size or size == 0:
        borders.append(size)
    return list(pairwise(borders))


def _next_line(stream: BinaryIO, at: int, size: int) -> int:
    """Return where the first line after a byte begins, at most `size`."""
    stream.seek(at)
    while chunk := stream.read(CHUNK):
        end = chunk.find(b"\n") + 1
        if end:
            return at + end
        at += len(chunk)
    return size


def processes_for(size: int) -> int:
    """Return how many processes are worth while: forking is quick, but safe only without other threads."""
    able = sys.platform == "linux" and threading.active_count() == 1
    return min(2, len(os.sched_getaffinity(0))) if able and size >= LARGE else 1


def each(work: Callable[[int], Result], number: int, *, processes: int) -> list[Result]:
    """Return the result of `work` for 0 to `number` - 1, in order; each process takes the next that is left."""
    queue_out, queue_in = os.pipe()
    for index in range(number):
        os.write(queue_in, index.to_bytes(_TOKEN, "little"))
    os.close(queue_in)
    children = [_child(work, queue_out) for _ in range(processes - 1)]
    done = _take_all(work, queue_out)
    os.close(queue_out)
    for pid, answer in children:
        with os.fdopen(answer, "rb") as stream, contextlib.suppress(EOFError, pickle.UnpicklingError):
            done |= pickle.load(stream)
        _, status = os.waitpid(pid, 0)
        if status or len(done) < number:
            raise OSError(f"a process that read the file ended with status {status}")
    return [done[index] for index in range(number)]


def _take_all(work: Callable[[int], Result], queue: int) -> dict[int, Result]:
    done: dict[int, Result] = {}
    while token := os.read(queue, _TOKEN):
        index = int.from_bytes(token, "little")
        done[index] = work(index)
    return done


def _child(work: Callable[[int], Result], queue: int) -> tuple[int, int]:
    """Start a process that works too; return its id and where its results can be read."""
    answer, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, answer
    status = 1
    try:
        os.close(answer)
        with os.fdopen(tell, "wb") as stream:
            pickle.dump(_take_all(work, queue), stream, protocol=pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)
