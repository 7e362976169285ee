"""The one process of a home that watches all jobs without a terminal."""

from __future__ import annotations

from pathlib import Path

from anytune.clock import Clock
from anytune.jobs.lease import Lease


class Worker:
    """Say which process it is, if there is one; `lease` is the right to be it."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self.lease = Lease(home, "worker")
        self._clock = clock

    def pid(self) -> int | None:
        """Return the process, None if there is none."""
        note = self.lease.read()
        return note.by if note is not None and self.lease.is_taken() else None

    def note(self, pid: int) -> None:
        """Write down which process it is."""
        now = self._clock.now()
        self.lease.note(now, then=now, by=pid)
