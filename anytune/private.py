"""Folders for their owner alone."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from stat import S_IMODE

OTHERS = 0o077  # what group and world may do
NAMED = ("anytune", ".anytune")  # a folder of this name is anytune's alone
OURS = frozenset(
    [
        "catalog",
        "credentials",
        "evals",
        "exports",
        "files",
        "jobs",
        "locks",
        "meeting",
        "mixed",
        "notified",
        "rates",
        "runs",
        "splits",
        "sweeps",
        "watch",
        "worker",
    ]
)


def folder(path: Path) -> None:
    """Make a folder that only its owner can open, and what is missing above it likewise; raise `OSError`.

    One that is there is closed to others if it is ours. (What lies above is left as it is: it may be for more than us.)
    """
    for each in [*reversed([parent for parent in path.parents if not parent.exists()]), path]:
        each.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if found.st_mode & OTHERS and found.st_uid == os.geteuid():
        with suppress(OSError):  # of a file system without modes
            path.chmod(found.st_mode & ~OTHERS & 0o7777)


def home(path: Path) -> None:
    """Make anytune's home where there is none, and close one that is there to others; raise `OSError`.

    Where that may not be, it stays as it is, and one line says why: a folder of more than ours may be so on purpose.
    """
    if not path.exists():
        folder(path)
        return
    found = path.stat()
    if found.st_mode & OTHERS and (why := _not_closed(path, found)):
        _warn(
            f"{path} is open to others (mode {S_IMODE(found.st_mode):04o}) and stays so, for {why}: "
            f"chmod 700 {path}, or set ANYTUNE_HOME to a folder of anytune's alone"
        )


def _not_closed(path: Path, found: os.stat_result) -> str | None:
    """Close a folder to others, or return why not."""
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    more = sorted(name for name in os.listdir(path) if name.partition(".")[0] not in OURS)
    if path.name not in NAMED and more:
        return f"it holds more than anytune's own files ({more[0]})"
    try:
        path.chmod(found.st_mode & ~OTHERS & 0o7777)
    except OSError as error:
        return f"that cannot be changed ({error.strerror})"
    return "its file system knows no modes" if path.stat().st_mode & OTHERS else None


@cache
def _warn(text: str) -> None:
    """Say it once, to whoever hears a library's warnings: on stderr where nobody said otherwise."""
    import logging

    logging.getLogger("anytune").warning(text)
