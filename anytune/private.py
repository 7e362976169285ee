"""Folders for their owner alone."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from stat import S_IMODE

OTHERS = 0o077  # what group and world may do
RECORD = "jobs.sqlite3"  # which every home has where its record is not on a server
FOLDERS = frozenset(
    ["catalog", "evals", "exports", "files", "locks", "mixed", "notified", "rates", "runs", "splits", "sweeps"]
)
FILES = re.compile(
    rf"{re.escape(RECORD)}.*|credentials(\.lock)?|meeting|worker\.(lock|json)|watch\.log|\.(credentials|worker)\.\d+"
)


def made(path: Path) -> None:
    """Make a folder that only its owner can open, and what is missing above it likewise; raise `OSError`.

    What is there is left as it is.
    """
    for each in [*reversed([parent for parent in path.parents if not parent.exists()]), path]:
        each.mkdir(mode=0o700, exist_ok=True)


def folder(path: Path) -> None:
    """Make a folder of the home's, and close one that is there to others if it is the user's; raise `OSError`.

    What lies above is left as it is: it may be for more than us.
    """
    made(path)
    found = path.stat()
    if found.st_mode & OTHERS and found.st_uid == os.geteuid():
        with suppress(OSError):  # of a file system without modes
            path.chmod(found.st_mode & ~OTHERS & 0o7777)


def home(path: Path) -> None:
    """Make anytune's home where there is none, and close one that is there to others; raise `OSError`.

    Where that may not be, it stays as it is: a folder of more than ours may be so on purpose. One line says which.
    """
    if not path.exists():
        made(path)
        return
    path = path.resolve()  # a link says nothing of what it leads to
    found = path.stat()
    if not found.st_mode & OTHERS:
        return
    mode, why = f"{S_IMODE(found.st_mode):04o}", _not_closed(path, found)
    if why is None:
        _warn(f"{path} was open to others (mode {mode}) and is closed now: what anytune keeps there is yours alone")
    else:
        _warn(
            f"{path} is open to others (mode {mode}) and stays so, for {why}: "
            f"chmod 700 {path}, or set ANYTUNE_HOME to a folder of anytune's alone"
        )


def _not_closed(path: Path, found: os.stat_result) -> str | None:
    """Close a folder to others, or return why not."""
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    there = os.listdir(path)
    more = sorted(name for name in there if not (name in FOLDERS or FILES.fullmatch(name)))
    if more:
        return f"it holds more than anytune's own files ({more[0]})"
    if there and RECORD not in there:
        return f"nothing shows that it is anytune's (there is no {RECORD})"
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
