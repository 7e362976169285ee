"""A job and what a provider says of it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from anytune.schema.base import Value
from anytune.schema.money import Limit, Order
from anytune.schema.plan import Deviation, Plan, Policy

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
        return self in ENDS


ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)  # a tuple is looked through faster than a set


def _whole(value: Any) -> Any:
    """Replace halves of characters, which JSON lets a provider send and UTF-8 cannot hold."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
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

    _texts = field_validator("id", "message", "data", mode="before")(_whole)


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


class Sending(Value):
    """Be an upload in parts that has begun and not ended: its id at the provider, and the ids of the parts there.

    `size` is how many bytes a part has, and `parts` goes by the first byte of each. `ending` is written just before
    they are put together: the file may be there. The provider keeps it for so many seconds as it `lasts`, counted from
    `since`, when the engine took it in by its own clock; None: nobody said.
    """

    id: str
    size: int
    parts: dict[int, str] = {}
    ending: bool = False
    lasts: float | None = None
    since: datetime | None = None


class Stay(Value):
    """Be a state that a job was in, and since when."""

    state: JobState
    since: datetime


class Job(Value):
    """Be one job from intent to end.

    `creating` is written just before `create` is sent, `creates` counts how often it was;
    `resuming` is when a hosted job was last told to go on. `sending` are the files, by role, that are on their way in
    parts. `sent` are the files that the job itself brought to its
    provider, `to_remove` those that are about to be removed there. `instead_of` says which providers refused it before,
    and why. `quote` is the price that the provider named before it began, `cost`
    what it cost by `cost_basis`, and `deviation` how far the plan's estimate was off once the job ended well.
    `project` and `by` say whose budgets of a month it counts for, `limits` which there were, `orders` what it was
    charged with, each written before it was given. `policy` is the one under which it was made: it holds wherever the
    job is gone on with, beside that of the place. `history` are the states that it came to after the first, oldest
    first.
    """

    id: str
    provider: str
    plan: Plan
    attempt: int = 1
    instead_of: tuple[str, ...] = ()
    project: str = ""
    by: str = ""
    limits: tuple[Limit, ...] = ()
    policy: Policy = Policy()
    orders: tuple[Order, ...] = ()
    state: JobState = JobState.SUBMITTING
    created_at: datetime
    updated_at: datetime
    files: dict[str, str] = {}
    sending: dict[str, Sending] = {}
    sent: tuple[str, ...] = ()
    to_remove: tuple[str, ...] = ()
    creating: datetime | None = None
    creates: int = 0
    resuming: datetime | None = None
    cancel_wanted: bool = False
    remote: RemoteJob | None = None
    quote: Decimal | None = None
    cost: Decimal | None = None
    cost_basis: str | None = None
    deviation: Deviation | None = None
    cause: Cause | None = None
    error: str | None = None
    history: tuple[Stay, ...] = ()

    @property
    def name(self) -> str:
        """Return the name that the job file gave."""
        return self.plan.spec.name

    def spent(self, now: datetime) -> dict[JobState, float]:
        """Return the seconds in each state so far, as this machine's clock had it; an end takes no time."""
        stays = [Stay(state=JobState.SUBMITTING, since=self.created_at), *self.history]
        found: dict[JobState, float] = {}
        for stay, until in zip_longest(stays, (later.since for later in stays[1:]), fillvalue=now):
            assert isinstance(stay, Stay)
            if not stay.state.is_terminal:
                seconds = max(0.0, (until - stay.since).total_seconds())  # clocks are set back, too
                found[stay.state] = found.get(stay.state, 0.0) + seconds
        return found


class News(Value):
    """Be something that the user is to be told of a job: `what` is the state that it ended in, or else what happened.

    `body` is the job's document as JSON, as it was `at` that time.
    """

    id: str
    job_id: str
    what: str
    at: datetime
    body: str


class Summary(Value):
    """Be what a list shows of a job, small enough to read ten thousand; `local` jobs run on the machine that made them.

    Files, the remote job and the estimate stand as JSON has them.
    """

    id: str
    name: str
    attempt: int
    provider: str
    project: str = ""
    by: str = ""
    instead_of: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    model: str
    method: str
    state: JobState
    created_at: datetime
    updated_at: datetime
    fingerprint: str
    files: tuple[dict[str, Any], ...]
    remote: dict[str, Any] | None
    estimated_cost: dict[str, Any]
    quote: Decimal | None = None
    cost: Decimal | None
    cost_basis: str | None = None
    deviation: dict[str, Any] | None = None
    cause: Cause | None
    error: str | None
    local: bool

    @classmethod
    def of(cls, job: Job) -> Self:
        """Take from a job what a list shows."""
        spec, remote = job.plan.spec, job.remote
        return cls(
            name=spec.name,
            model=spec.model,
            method=spec.method,
            fingerprint=job.plan.fingerprint,
            files=tuple(file.model_dump(mode="json") for file in job.plan.files),
            remote=remote.model_dump(mode="json") if remote else None,
            estimated_cost=job.plan.cost.model_dump(mode="json"),
            deviation=job.deviation.model_dump(mode="json") if job.deviation else None,
            local=job.plan.capabilities.local,
            **{name: getattr(job, name) for name in SHARED},
        )


SHARED = (
    "id",
    "attempt",
    "provider",
    "project",
    "by",
    "orders",
    "instead_of",
    "state",
    "created_at",
    "updated_at",
    "quote",
    "cost",
    "cost_basis",
    "cause",
    "error",
)
