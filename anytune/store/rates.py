"""Where the budgets of calls are kept, so that all who share a record share them: beside it in the home, or with it.

<home>/rates/<name>.json   for a record in the home: a file that is locked for an instant, far cheaper than a commit
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anytune import private
from anytune.errors import StoreError
from anytune.store import mend

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Slip:
    """Be a small text that is lent to one at a time; who changes `text` has written it when it is given back.

    `now` is the time that all who share it go by, in seconds since 1970; None: they have one clock.
    """

    text: str
    now: float | None = None


class Rates(Protocol):
    """Keep a slip for each name, an empty one where nothing was written."""

    def lent(self, name: str) -> AbstractContextManager[Slip]:
        """Lend the slip of a name, to one of all processes at a time; its end frees it. Raises `StoreError`."""
        ...

    def seen(self, name: str) -> str:
        """Return what stands there, without waiting for who has it."""
        ...


class HomeRates:
    """Keep slips as files of a home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "rates"

    @contextmanager
    def lent(self, name: str) -> Iterator[Slip]:
        """Lend a file, locked; the kernel frees it when the process ends."""
        path = self._path(name)
        with _told(path):
            private.folder(self._folder)
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            with _told(path):
                fcntl.flock(handle, fcntl.LOCK_EX)
            slip = Slip(_read(path))
            before = slip.text
            yield slip
            if slip.text != before:
                text = slip.text.encode()
                with _told(path):
                    os.pwrite(handle, text, 0)
                    os.ftruncate(handle, len(text))
        finally:
            os.close(handle)

    def seen(self, name: str) -> str:
        """Return what stands in the file, half of it where somebody is writing."""
        return _read(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what the file system refuses as an error of ours, with the way to mend it."""
    try:
        yield
    except OSError as error:
        fix = f"make room there, or {mend.ANOTHER_HOME}" if error.errno in FULL else mend.ANOTHER_HOME
        raise StoreError(f"cannot write {path}: {error.strerror}", fix=fix) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
