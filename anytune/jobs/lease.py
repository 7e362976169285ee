"""Who asks a provider, of several processes with one home: the one that holds its lock; the others read the record.

<home>/sweeps/<provider>.lock   held (flock) by the process that asks, so that the kernel frees it however that ends
<home>/sweeps/<provider>.json   {"by": process id, "swept": when it last asked, "next": when it will}
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from anytune import private
from anytune.errors import StoreError

OVERDUE = timedelta(minutes=10)  # after which a holder that does not ask, say a stopped one, is passed by
FARTHEST = timedelta(days=2)  # a next time beyond this was written by a clock that was wrong


@dataclass(frozen=True)
class Note:
    """Be what the holder wrote down: who it is, when it asked, when it will ask next."""

    by: int
    swept: datetime
    next: datetime


class Lease:
    """Be the right to do a thing for all processes of one home; freed by `release`, or by the end of the process."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, quote(name, safe="")
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        """Tell whether it is ours."""
        return self._handle is not None

    def take(self) -> bool:
        """Take it if nobody else has it; return whether it is ours now."""
        if self._handle is None:
            handle = self._opened()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            self._handle = handle
        return True

    def is_taken(self) -> bool:
        """Tell whether a living process has it."""
        if self.held:
            return True
        if not (self._folder / f"{self._name}.lock").exists():
            return False
        free = self.take()
        self.release()
        return not free

    def release(self) -> None:
        """Give it back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def handed_on(self) -> tuple[int, ...]:
        """Return the open file that a child has to inherit to hold it, too: it is free when both have let go."""
        return () if self._handle is None else (self._handle,)

    def note(self, swept: datetime, *, then: datetime, by: int | None = None) -> None:
        """Write down when the holder asked, and when it will ask next; the holder is this process if None."""
        text = json.dumps({"by": by or os.getpid(), "swept": swept.isoformat(), "next": then.isoformat()})
        aside = self._folder / f".{self._name}.{os.getpid()}"
        try:
            aside.write_text(text, encoding="utf-8")
            aside.replace(self._folder / f"{self._name}.json")
        except OSError as error:
            raise StoreError(f"cannot write in {self._folder}: {error.strerror}") from error

    def read(self) -> Note | None:
        """Return what the last holder wrote down, None if nothing that makes sense."""
        try:
            told = json.loads((self._folder / f"{self._name}.json").read_text(encoding="utf-8"))
            return Note(
                by=int(told["by"]),
                swept=datetime.fromisoformat(told["swept"]),
                next=datetime.fromisoformat(told["next"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def seconds_left(self, now: datetime) -> float:
        """Return for how long the provider need not be asked, as the last holder had it; 0 where that is over."""
        note = self.read()
        return max(0.0, (note.next - now).total_seconds()) if note and note.next - now < FARTHEST else 0.0

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether the holder should have asked long ago."""
        note = self.read()
        return note is not None and now - note.next > OVERDUE

    def _opened(self) -> int:
        try:
            private.made(self._folder)  # it may be the home, and of that `private.home` judges
            return os.open(self._folder / f"{self._name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write in {self._folder}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
