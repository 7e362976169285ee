"""A model that a job made."""

from __future__ import annotations

from anytune.schema.base import Value


class TunedModel(Value):
    """Name a tuned model: at the provider (`name`), or as a folder on this machine (`path`).

    `remote_id` is the provider's id of the job that made it, for providers who hand weights out by job.
    """

    provider: str
    base: str
    name: str
    path: str | None = None
    job_id: str
    remote_id: str | None = None
