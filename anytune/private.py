"""Folders for their owner alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

OTHERS = 0o077  # what group and world may do


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
    """Make anytune's home where there is none; one that is there may be a folder of more than ours, and stays."""
    if not path.exists():
        folder(path)
