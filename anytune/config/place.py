"""Where settings may be written down; finding none costs no reading."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROJECT_FILE = "anytune.yaml"


class Places(NamedTuple):
    """Name the file of the user's settings, whether it is there or not, and the project's, if there is one."""

    users: Path
    project: Path | None

    @property
    def written(self) -> tuple[Path, ...]:
        """Return the files that are there, the user's first."""
        return tuple(path for path in self if path is not None and path.is_file())


def places(*, folder: Path, environment: Mapping[str, str]) -> Places:
    """Find the user's `config.yaml` and the nearest `anytune.yaml` at or above `folder`."""
    users = expanded(environment.get("XDG_CONFIG_HOME") or "~/.config") / "anytune" / "config.yaml"
    above = (parent / PROJECT_FILE for parent in (folder, *folder.parents))
    return Places(users, next((path for path in above if path.is_file()), None))


def expanded(path: Path | str) -> Path:
    """Put the home folder for a leading ~; the name of a user who is not there stays as it is."""
    return Path(os.path.expanduser(path))
