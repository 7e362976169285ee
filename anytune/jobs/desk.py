"""What work on jobs needs, and the two ways in which a job changes: by our own word, and by its provider's."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass, field

from anytune.clock import Clock, SystemClock
from anytune.errors import ProviderError
from anytune.jobs import bill
from anytune.providers.base import Provider
from anytune.schema.job import Job, JobState, RemoteJob, Stay
from anytune.schema.money import Limit
from anytune.schema.plan import Capabilities, Policy
from anytune.store import JobStore

BAD_ENDS = frozenset((JobState.FAILED, JobState.CANCELLED))
STAYS = 100  # states that a job's history keeps: one that goes to and fro for weeks does not grow without end


def user() -> str:
    """Return who works here, by the account's name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "unknown"


def _as_it_is(capabilities: Capabilities) -> Capabilities:
    return capabilities


@dataclass(frozen=True)
class Desk:
    """Hold what work on jobs needs: record, providers by name, the policy that holds now, clock, and who asks.

    `place` adds to a provider's capabilities where its profile, as it is now, has the data go. `project` is what jobs
    that are made here belong to, `limits` are the budgets of a month, of that project and of who asks.
    """

    store: JobStore
    provider: Callable[[str], Provider]
    policy: Policy = field(default_factory=Policy)
    clock: Clock = field(default_factory=SystemClock)
    place: Callable[[Capabilities], Capabilities] = _as_it_is
    who: str = field(default_factory=user)
    project: str = ""
    limits: tuple[Limit, ...] = ()


def put(job: Job, desk: Desk, **changes: object) -> Job:
    """Change a job and write it down, with the news of its end where that is one."""
    now = desk.clock.now()
    state = changes.get("state", job.state)
    history = (
        job.history if state == job.state else (*job.history, Stay(state=JobState(str(state)), since=now))[-STAYS:]
    )
    changed = job.model_copy(update={**changes, "updated_at": now, "history": history})
    desk.store.put(changed, ended=changed.state.is_terminal and not job.state.is_terminal)
    return changed


def record(job: Job, remote: RemoteJob, desk: Desk) -> Job:
    """Write down what the provider says, if the job has not ended; success needs a model. The caller acts for it.

    The id may be another than before only where the provider says that it takes the place of that one.
    """
    if job.state.is_terminal:
        return job
    if job.remote is not None and remote.id != job.remote.id and job.remote.id not in remote.replaces:
        raise ProviderError(f"{job.provider} answered about {remote.id} when asked for {job.remote.id}")
    nameless = remote.state is JobState.SUCCEEDED and remote.model is None
    return put(
        job,
        desk,
        remote=remote,
        state=JobState.FINALIZING if nameless else remote.state,
        error=remote.error,
        cause=remote.cause,
        **bill.known(job, remote),
    )
