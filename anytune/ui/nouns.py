"""What the verbs hand over to be shown: this machine, and what was asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anytune.ui import words


@dataclass(frozen=True)
class Readiness:
    """Say what stands between here and a provider; `key` never holds the key itself.

    `lacks` is what has to be set beside it, `extra` the extra of anytune that brings the packages.
    """

    name: str
    ready: bool
    packages: str
    key: str
    place: str
    base_url: str | None = None
    lacks: str | None = None
    extra: str | None = None


@dataclass(frozen=True)
class Finding:
    """Be one thing that was looked at: well, worth knowing, or broken."""

    level: Literal["ok", "ready", "not ready", "note", "bad"]
    name: str
    said: str
    fix: str | None = None


@dataclass(frozen=True)
class Given:
    """Be a job file and what was said beside it on the command line."""

    job_file: Path
    provider: str | None = None
    model: str | None = None
    changes: tuple[str, ...] = ()
    force: bool = False

    def command(self, verb: str, *flags: str, everywhere: bool = False) -> str:
        """Return the command that does this verb with the same; `everywhere` leaves the provider out."""
        parts = ["anytune", verb, words.place(self.job_file), *flags]
        parts += ["--provider", self.provider] if self.provider and not everywhere else []
        parts += ["--model", self.model] if self.model else []
        parts += [part for change in self.changes for part in ("--set", change)]
        return shlex.join([*parts, *(["--force"] if self.force else [])])
