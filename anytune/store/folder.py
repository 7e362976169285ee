"""The folder and the file of a record: made for their owner alone, locked, and looked at before they are opened."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anytune import private
from anytune.errors import StoreError
from anytune.store import mend


def make(home: Path, record: Path) -> None:
    """Make the folder of a record where there is none; raise `StoreError` where it cannot be used."""
    try:
        private.home(home)
    except OSError as error:
        why = "a file stands where a folder should" if isinstance(error, FileExistsError) else error.strerror
        raise StoreError(f"cannot write {record}: {why}", fix=mend.ANOTHER_HOME) from error
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise mend.unwritable(home)


def look_at(record: Path) -> None:
    """Raise `StoreError` for a record that may not be written, or from which all was lost."""
    if not os.access(record, os.R_OK | os.W_OK):
        raise mend.unwritable(record)
    if record.is_file() and record.stat().st_size == 0:
        raise StoreError(f"{record} is empty: what was in it is lost", fix=mend.for_sqlite(26, record))


@contextmanager
def alone(handle: int) -> Iterator[None]:
    """Hold the lock of an open file or folder and close it at the end."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
