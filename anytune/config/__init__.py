"""What the user wrote: the job file, `anytune.yaml`, `--set`, and keys from the environment."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anytune.config.document import Document
    from anytune.config.job import job_schema, load_job, nearest
    from anytune.config.place import PROJECT_FILE, places
    from anytune.config.settings import NotifySettings, ProfileSettings, Settings, key_source, load_settings

__all__ = [
    "PROJECT_FILE",
    "Document",
    "NotifySettings",
    "ProfileSettings",
    "Settings",
    "job_schema",
    "key_source",
    "load_job",
    "load_settings",
    "nearest",
    "places",
]
_PARTS = {
    "document": ("Document",),
    "job": ("job_schema", "load_job", "nearest"),
    "place": ("PROJECT_FILE", "places"),
}


def __getattr__(name: str) -> Any:
    """Load what reads a file when it is asked for: who finds no settings needs no YAML."""
    if name in __all__:
        part = next((part for part, names in _PARTS.items() if name in names), "settings")
        return getattr(import_module(f"anytune.config.{part}"), name)
    raise AttributeError(f"module 'anytune.config' has no attribute {name!r}")
