"""A model that a job made, at its end or on the way."""

from datetime import datetime
from typing import Any

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


class Checkpoint(Value):
    """Be a model as it was after an optimiser `step`: `model` is its name at the provider, as `TunedModel` has one.

    `figures` are what the provider measured then, such as loss and valid_loss.
    """

    id: str
    step: int
    model: str
    at: datetime | None = None
    figures: dict[str, Any] = {}
