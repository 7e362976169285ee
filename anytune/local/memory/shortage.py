"""What a run does when memory runs out: it goes one step down the ladder, and on from its last checkpoint.

The worker begins anew as a fresh process (same process id, same lock), since one that has once run out of memory has
no clean state to go on from. Steps, examples a step and what is learnt stay the same; only sums are added up in another
order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

from anytune.errors import UsageError
from anytune.local import spread
from anytune.local.machine import read_text
from anytune.local.memory import ladder
from anytune.local.memory.fit import Way
from anytune.local.memory.ladder import Work
from anytune.local.processes import worker_command, worker_environment
from anytune.local.runs import LOCK_FD, Run, read_json, write_json
from anytune.local.training.events import EventLog

WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "std::bad_alloc",
)
KILLS = "kills"  # file of a run: how often the system had killed a process for its memory when the worker began


class Pass(Protocol):
    """Be what was computed last: its tokens with filler, and the examples that they are of."""

    @property
    def ids(self) -> Any:
        """Return the tokens."""

    @property
    def items(self) -> Any:
        """Return the examples."""


class ShortOfMemory(Exception):
    """Report that memory ran out: while the model was opened, or in a pass of so many tokens that could be cut."""

    def __init__(self, *, opening: bool, tokens: int | None = None) -> None:
        super().__init__("out of memory")
        self.opening, self.tokens = opening, tokens


def is_shortage(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out; libraries wrap that in errors of their own."""
    text = (str(error).strip().splitlines() or [""])[0].lower()
    return isinstance(error, MemoryError | ShortOfMemory) or any(words in text for words in WORDS)


@contextmanager
def opening() -> Iterator[None]:
    """Raise `ShortOfMemory` where memory runs out while the model is opened."""
    try:
        yield
    except Exception as error:
        if is_shortage(error):
            raise ShortOfMemory(opening=True) from error
        raise


@contextmanager
def passes(last: Any) -> Iterator[None]:
    """Raise `ShortOfMemory` where memory runs out in a pass; `last()` is what was computed last, None if nothing."""
    try:
        yield
    except Exception as error:
        if not is_shortage(error):
            raise
        batch: Pass | None = last()
        several = batch is not None and len(batch.items) > 1
        raise ShortOfMemory(
            opening=False, tokens=batch.ids.numel() if batch is not None and several else None
        ) from error


def fall(run: Run, error: BaseException, events: EventLog) -> bool:
    """Go one step down for the next worker, and say so; False where memory was not what ran out, or there is none.

    There is none, either, where settings contradict each other: the run must end with what it died of.
    """
    choices = read_json(run.path / "machine.json")
    if not isinstance(error, ShortOfMemory) or choices is None:
        return False
    try:
        way, work = _way(choices), _work(run)
    except UsageError:
        return False
    smaller = ladder.packed(way, work) or ladder.dealt(way, work)
    below = smaller if error.opening else ladder.lower(way, work, tokens=error.tokens)
    return _take(run, choices, way, below, events, why="out of memory")


def fall_after_kill(run: Run, events: EventLog, *, now: int) -> None:
    """Go one step down where the system killed a process for its memory since an earlier worker of this run began.

    `now` is how many it has killed.
    """
    choices = read_json(run.path / "machine.json")
    known = read_text(str(run.path / KILLS)).strip()
    if choices is not None and known.isdigit() and now > int(known):
        way, work = _way(choices), _work(run)
        below = ladder.lower(way, work, tokens=ladder.divisible(way, work))
        _take(run, choices, way, below, events, why="the system killed a process for its memory while this run went on")
    (run.path / KILLS).write_text(str(now))


def begin_anew(run: Run, lock: int) -> None:
    """Become a fresh worker of the same run, which holds the lock all the time; does not return."""
    os.set_inheritable(lock, True)
    command = worker_command("run", str(run.path))
    os.execve(command[0], command, {**worker_environment(), LOCK_FD: str(lock)})


def kills() -> int:
    """Count the processes that this system, and this container, killed for their memory."""
    found = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        counted = re.search(r"^oom_kill (\d+)$", read_text(path), re.MULTILINE)
        found += int(counted[1]) if counted else 0
    return found


def fix(run: Run) -> str:
    """Say what to do when the ladder has no further step."""
    tried = (read_json(run.path / "machine.json") or {}).get("recompute")
    already = "; the smallest passes were tried, with layers computed twice" if tried else ""
    idle = spread.wanted(os.environ) == 1 and len(spread.gpus(os.environ)) > 1
    more = ", or let all GPUs hold it together (profiles.local.processes: auto)" if idle else ""
    return f"set training.max_length or training.lora.rank smaller, or take a smaller model{more}{already}"


def _take(run: Run, choices: dict[str, Any], way: Way, below: Way | None, events: EventLog, *, why: str) -> bool:
    if below is None:
        return False
    write_json(run.path / "machine.json", {**choices, **asdict(below)})
    said = ladder.step_words(way, below)
    events.tell(f"{why}; going on from the last checkpoint: {said}", level="warning", way=asdict(below))
    return True


def _way(choices: Mapping[str, Any]) -> Way:
    return Way(**{field.name: choices[field.name] for field in fields(Way) if field.name in choices})


def _work(run: Run) -> Work:
    request = json.loads((Path(run.path) / "request.json").read_text(encoding="utf-8"))
    training, method = request["training"], str(request.get("method"))
    size = 1 if method == "rft" else spread.everywhere(os.environ)  # learning from rewards knows one process alone
    shards = spread.shards(os.environ, training, size=size)
    return Work(training, ladder.ROWS.get(method, 1), shards)
