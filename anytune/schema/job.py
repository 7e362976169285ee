"""A job and what a provider says of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, field_validator

from anytune.schema.base import Value
from anytune.schema.plan import Plan

Cause = Literal["user", "provider", "billing"]


class JobState(StrEnum):
    """Name where a job stands; a provider's unheard-of word is `unknown`, which never ends a job."""

    SUBMITTING = "submitting"
    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing more will happen."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


def _whole(value: Any) -> Any:
    """Replace halves of characters, which JSON lets a provider send and UTF-8 cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


class Event(Value):
    """Be one thing that happened; `data` holds figures such as step, total_steps, loss, tokens_per_second, eta."""

    id: str
    at: datetime
    level: Literal["info", "warning", "error"] = "info"
    message: str
    data: dict[str, Any] = {}

    _texts = field_validator("*", mode="before")(_whole)


class RemoteJob(Value):
    """Be a job as its provider tells it; `status` keeps the provider's own word.

    `base` is the model that is tuned, `model` what came of it. `seen_job_id` is our job id as found in the remote job's
    metadata or suffix, None if it carries none. `replaces` are earlier ids of the same job: a provider may start one
    again, by itself, under a new id. `settings` are the hyperparameters that it says it trains with, in its own words:
    also what became of those left on `auto`.

    `told` are all events of the job where they came with the same answer, None where they are to be asked for; `mark`
    is another one whenever the provider notes a change that no other field shows. Both belong to one answer, and are
    not kept.
    """

    id: str
    status: str
    state: JobState
    base: str | None = None
    model: str | None = None
    error: str | None = None
    cause: Cause | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    trained_tokens: int | None = None
    cost: Decimal | None = None
    training_file: str | None = None
    seen_job_id: str | None = None
    replaces: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    told: tuple[Event, ...] | None = Field(default=None, exclude=True)
    mark: str = Field(default="", exclude=True)

    _texts = field_validator("*", mode="before")(_whole)


class Job(Value):
    """Be one job from intent to end.

    `creating` is written just before `create` is sent, `creates` counts how often it was. `sent` are the files that the
    job itself brought to its provider, `to_remove` those that are about to be removed there. `instead_of` says which
    providers refused it before, and why.
    """

    id: str
    provider: str
    plan: Plan
    attempt: int = 1
    instead_of: tuple[str, ...] = ()
    state: JobState = JobState.SUBMITTING
    created_at: datetime
    updated_at: datetime
    files: dict[str, str] = {}
    sent: tuple[str, ...] = ()
    to_remove: tuple[str, ...] = ()
    creating: datetime | None = None
    creates: int = 0
    cancel_wanted: bool = False
    remote: RemoteJob | None = None
    cost: Decimal | None = None
    cause: Cause | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """Return the name that the job file gave."""
        return self.plan.spec.name
