"""What is shown about this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Readiness:
    """Say what stands between here and a provider; `key` never holds the key itself."""

    name: str
    ready: bool
    packages: str
    key: str
    place: str
    base_url: str | None = None


@dataclass(frozen=True)
class Finding:
    """Be one thing that was looked at: well, worth knowing, or broken."""

    level: Literal["ok", "note", "bad"]
    name: str
    said: str
    fix: str | None = None
