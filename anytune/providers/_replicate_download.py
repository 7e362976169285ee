"""Bring what a trainer made home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ACT = "download"


def free_folder(out: Path) -> Path:
    """Return the folder's whole path."""
    return out.absolute()


def download(gateway: Any, address: str, tuned: Any, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write the weights."""
    raise NotImplementedError
