"""What the verbs hand over to be shown: this machine, and what was asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
class Asked:
    """Say what a provider answered when asked for its models; `said` is the address, or why there is no answer."""

    provider: str
    ok: bool
    said: str
    exit_code: int = 0
    models: int = 0
    new: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as a part of a JSON document."""
        head = {"provider": self.provider, "ok": self.ok}
        if not self.ok:
            return {**head, "error": self.said, "exit_code": self.exit_code}
        return {**head, "source": self.said, "models": self.models, "new": self.new, "lost": self.lost}


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
