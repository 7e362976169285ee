"""Run folders: what stands in one, how it is made in one stroke, and who holds it.

<home>/runs/<job id>/   mode 0700
    request.json        what `create` was asked for; never changed
    lock                held (flock) by the worker as long as it lives, so a dead worker shows at once
    worker.pid          the worker's process id, only meaningful while the lock is held
    cancel              somebody wants the run to stop
    events.jsonl        one event a line, appended by the worker
    checkpoints/        see `checkpoint.py`
    model/              the tuned model
    result.json         how it ended; absent until then
    log                 the worker's stdout and stderr
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune import private

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LOCK_FD = "ANYTUNE_LOCK_FD"  # environment variable that names the descriptor the worker inherits


@dataclass(frozen=True)
class Run:
    """Be one run folder."""

    path: Path

    @property
    def id(self) -> str:
        """Return the job id, which is the folder's name."""
        return self.path.name

    def request(self) -> dict[str, Any]:
        """Read what `create` was asked for."""
        return read_json(self.path / "request.json") or {}

    def result(self) -> dict[str, Any] | None:
        """Read how the run ended, None while it has not."""
        return read_json(self.path / "result.json")

    def pid(self) -> int | None:
        """Read the worker's process id, None if no worker has come so far."""
        try:
            return int((self.path / "worker.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def cancel_mark(self) -> Path:
        """Return the file whose presence asks the worker to stop."""
        return self.path / "cancel"


def new_run(runs: Path, job_id: str, request: dict[str, Any]) -> tuple[Run, int | None]:
    """Make the folder in one stroke and return it with its held lock; the lock is None if the folder was there."""
    private.folder(runs)
    aside = Path(tempfile.mkdtemp(prefix=f".new-{job_id}-", dir=runs))  # mode 0700
    try:
        write_json(aside / "request.json", request)
        lock = take_lock(aside)
        try:
            os.rename(aside, runs / job_id)  # fails if the name is taken: the folder is never empty
        except OSError:
            if lock is not None:
                os.close(lock)
            if not (runs / job_id).is_dir():
                raise
            return Run(runs / job_id), None
        sync_folder(runs)
        return Run(runs / job_id), lock
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def take_lock(folder: Path) -> int | None:
    """Take the folder's lock and return its open descriptor, or None if a worker holds it.

    A look (`is_held`) holds the lock for an instant; that instant is not mistaken for a worker.
    """
    while True:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            os.close(fd)
        if is_held(folder):
            return None


def is_held(folder: Path) -> bool:
    """Tell whether a living process holds the folder's lock."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, None if the file is not there or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the whole new one, whatever happens between."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as out:
        json.dump(value, out, ensure_ascii=False, indent=1)
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within the folder last through a loss of power."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
