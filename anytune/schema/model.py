"""A model that a job made."""

from __future__ import annotations

from anytune.schema.base import Value


class TunedModel(Value):
    """Name a tuned model: at the provider (`name`), or as a folder on this machine (`path`)."""

    provider: str
    base: str
    name: str
    path: str | None = None
    job_id: str
