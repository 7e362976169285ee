"""The life of a job: the intent is written before each act, the outcome right after.

A process killed between any two steps leaves a record from which the next command finishes the work:

    put(SUBMITTING) → upload → put(file ids) → exact quote ≤ budget → put(creating) → create → put(remote)

A record that says `creating` without a remote job may stand for one that exists: it is looked for by our job id, which
travels with the request, before anything is created again.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from anytune import planner, retry
from anytune.errors import (
    AmbiguousError,
    ClosedError,
    ConflictError,
    JobFailedError,
    NotFoundError,
    NotYetError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    UnavailableError,
)
from anytune.providers.base import Provider, Quotes, Resumes
from anytune.schema.data import DataFile
from anytune.schema.job import Cause, Event, Job, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Plan
from anytune.store import JobStore

CREATE_ROUNDS = 3
LIST_LAG = 30.0  # seconds for which a provider's list may not show a new job
FILE_CHECKS = 1800.0  # seconds that a provider may take to look through an uploaded file before it takes the job
YOUNG = 600.0  # seconds for which a job that the provider does not know is thought to be on its way
POLL = {True: (0.25, 2.0), False: (5.0, 60.0)}  # first and longest wait in seconds: on this machine, hosted
PATIENCE = 300.0  # seconds for which one question to a provider is tried again
BAD_ENDS = frozenset((JobState.FAILED, JobState.CANCELLED))
PASSING = (UnavailableError, RateLimitedError, AmbiguousError)


class Clock(Protocol):
    """Tell the time and let some pass; injected, so that tests need not wait."""

    def now(self) -> datetime:
        """Return the time of day, with its zone."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """Be this machine's clock."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Desk:
    """Hold what work on jobs needs: the record, the providers by name, the clock."""

    store: JobStore
    provider: Callable[[str], Provider]
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True)
class Update:
    """Be one look at a job: how it stands, and the events that were not known before."""

    job: Job
    events: Sequence[Event] = ()


def submit(plan: Plan, *, desk: Desk, again: bool = False) -> Job:
    """Carry out a plan once: the same name, provider, settings and data are the same job.

    `again` makes another. Raises `RefusedError` for a refused plan (nothing is sent or written), `ConflictError` when
    the name stands for other content, and what the provider answered; the job is kept whenever it may still go on.
    """
    if not plan.ok:
        raise RefusedError(f"{plan.spec.name} is refused by the plan", reasons=plan.refused)
    return carry_on(_intend(plan, desk, again=again).id, desk=desk, plan=plan)


def carry_on(job_id: str, *, desk: Desk, plan: Plan | None = None) -> Job:
    """Finish a submit from wherever it stopped; one process at a time acts for a job.

    `plan` is the same job planned anew: its budget and the places of its files hold now.
    """
    with desk.store.acting(job_id):
        job = desk.store.get(job_id)
        if job.state is not JobState.SUBMITTING:
            return job
        provider = desk.provider(job.provider)
        if job.cancel_wanted:
            return _stop(job, provider, desk)
        if plan is not None and plan != job.plan:
            job = _put(job, desk, plan=plan)
        try:
            job = _upload(job, provider, desk)
            return _create(job, provider, desk)
        except RejectedError as error:
            kept = desk.store.get(job_id)
            _put(kept, desk, state=JobState.FAILED, error=error.message, cause=_cause(error))
            raise


def refresh(job_id: str, *, desk: Desk, patience: float = PATIENCE) -> Job:
    """Ask the provider how the job stands and write it down; an ended job stays as it ended.

    `patience` is for how many seconds a provider that cannot be reached is tried.
    """
    job = desk.store.get(job_id)
    if job.state is JobState.SUBMITTING:
        return carry_on(job.id, desk=desk)
    if job.state.is_terminal or job.remote is None:
        return job
    provider, known = desk.provider(job.provider), job.remote
    try:
        remote = retry.call(lambda: provider.retrieve(known.id), clock=desk.clock, deadline=patience)
    except NotFoundError as error:
        age = (desk.clock.now() - (job.creating or job.created_at)).total_seconds()
        if age < YOUNG:
            return job
        remote = known.model_copy(update={"state": JobState.UNKNOWN, "error": error.message})
    with desk.store.acting(job.id):
        current = desk.store.get(job.id)
        overtaken = current.updated_at != job.updated_at and not remote.state.is_terminal
        return current if overtaken else _record(current, remote, desk)


def follow(job_id: str, *, desk: Desk, timeout: float | None = None) -> Iterator[Update]:
    """Yield a look at the job at each poll until it ends or pauses; waits grow, with jitter, up to a ceiling.

    A provider that cannot be reached does not end the wait. Raises `NotYetError` after `timeout` seconds.
    """
    started = desk.clock.monotonic()
    job = desk.store.get(job_id)
    shortest, longest = POLL[job.plan.capabilities.local]
    wait = shortest
    while True:
        waited, asked = desk.clock.monotonic() - started, 0.0
        patience = PATIENCE if timeout is None else min(PATIENCE, timeout - waited)
        try:
            job = refresh(job_id, desk=desk, patience=patience)
            update = Update(job, fetch_events(job, desk=desk, patience=patience))
        except PASSING as error:
            update = Update(job.model_copy(update={"error": error.message}))
            asked = (isinstance(error, RateLimitedError) and error.retry_after) or 0.0
        yield update
        if job.state.is_terminal or job.state is JobState.PAUSED:
            return
        waited, pause = desk.clock.monotonic() - started, max(asked, wait * random.uniform(0.8, 1.2))
        if timeout is not None and not waited + pause <= timeout:
            raise NotYetError(f"{job_id} is {job.state} after {waited:.0f} s", fix=f"anytune watch {job_id}")
        desk.clock.sleep(pause)
        wait = max(shortest, wait / 2) if update.events else min(wait * 1.5, longest)


def fetch_events(job: Job, *, desk: Desk, patience: float = PATIENCE) -> Sequence[Event]:
    """Take in the provider's events and return those that are new; a job that it does not show has none."""
    remote = job.remote
    if remote is None:
        return []
    provider = desk.provider(job.provider)
    try:
        told = retry.call(lambda: provider.events(remote.id), clock=desk.clock, deadline=patience)
    except NotFoundError:
        return []
    return desk.store.add_events(job.id, told)


def cancel(job_id: str, *, desk: Desk) -> Job:
    """Stop a job; harmless on one that has ended."""
    job = desk.store.get(job_id)
    with desk.store.acting(job.id):
        job = desk.store.get(job.id)
        if job.state.is_terminal:
            return job
        return _stop(_put(job, desk, cancel_wanted=True), desk.provider(job.provider), desk)


def resume(job_id: str, *, desk: Desk) -> Job:
    """Go on with a job that was interrupted, in its submit or in its run."""
    job = refresh(job_id, desk=desk)
    provider = desk.provider(job.provider)
    if job.state is JobState.PAUSED and job.remote is not None and isinstance(provider, Resumes):
        with desk.store.acting(job.id):
            return _record(desk.store.get(job.id), provider.resume(job.remote.id), desk)
    return job


def model(job: Job) -> TunedModel:
    """Return the model that a job made; raise `JobFailedError` or `NotYetError` when there is none."""
    if job.state in BAD_ENDS:
        raise JobFailedError(f"{job.id} {job.state}: {job.error or 'no model was made'}")
    if job.state is not JobState.SUCCEEDED or job.remote is None or job.remote.model is None:
        raise NotYetError(f"{job.id} is {job.state}: there is no model yet", fix=f"anytune watch {job.id}")
    local = job.plan.capabilities.local
    return TunedModel(
        provider=job.provider,
        base=job.plan.spec.model,
        name=job.remote.model,
        path=job.remote.model if local else None,
        job_id=job.id,
    )


def _intend(plan: Plan, desk: Desk, *, again: bool) -> Job:
    earlier = sorted(
        desk.store.list(name=plan.spec.name, provider=plan.spec.provider), key=lambda job: job.attempt, reverse=True
    )
    last = next(iter(earlier), None)
    if last is not None and not again:
        alive = (job for job in earlier if job.plan.fingerprint == plan.fingerprint and job.state not in BAD_ENDS)
        if (settled := next(alive, None) or _same(last, plan)) is not None:
            return settled
    now = desk.clock.now()
    wanted = Job(
        id=f"{plan.spec.name[:24].rstrip('-._').lower()}-{secrets.token_hex(5)}",
        provider=plan.spec.provider,
        plan=plan,
        attempt=last.attempt + 1 if last else 1,
        created_at=now,
        updated_at=now,
    )
    stored = desk.store.add(wanted)
    return stored if stored.id == wanted.id else _same(stored, plan) or _intend(plan, desk, again=again)


def _same(job: Job, plan: Plan) -> Job | None:
    """Return the job when it is the plan's, None when its name is free again; else the name is taken."""
    if job.plan.fingerprint == plan.fingerprint:
        return job
    if job.state in BAD_ENDS:
        return None
    raise ConflictError(
        f"{plan.spec.name!r} at {plan.spec.provider} is {job.id} ({job.state}), with other settings or data",
        fix="give the job another name, or --again makes a second one under this name",
    )


def _upload(job: Job, provider: Provider, desk: Desk) -> Job:
    for file in job.plan.files:
        if file.role not in job.files:
            job = _put(job, desk, files={**job.files, file.role: _send(file, provider, desk)})
    return job


def _send(file: DataFile, provider: Provider, desk: Desk) -> str:
    return retry.call(lambda: provider.upload(file), clock=desk.clock, deadline=3600)


def _create(job: Job, provider: Provider, desk: Desk) -> Job:
    request = provider.render(
        job.plan.spec,
        job_id=job.id,
        training_file=job.files["train"],
        validation_file=job.files.get("validation"),
    )
    if job.creating is not None and (adopted := _adopted(job, provider, desk)) is not None:
        return adopted
    _within_budget(job, provider, request, desk)
    for last in (*[False] * (CREATE_ROUNDS - 1), True):
        job = _put(job, desk, creating=desk.clock.now())
        try:
            remote = retry.call(
                lambda: provider.create(request),
                clock=desk.clock,
                repeat=retry.SURELY_NOT_DONE,
                deadline=FILE_CHECKS,
            )
            return _record(job, remote, desk)
        except AmbiguousError:
            if (adopted := _adopted(job, provider, desk)) is not None:
                return adopted
            if last:
                raise
    raise AssertionError("unreachable: the last round returns or raises")


def _stop(job: Job, provider: Provider, desk: Desk) -> Job:
    """Cancel the remote job, if there is one; none is made any more."""
    if job.remote is None and job.creating is not None:
        job = _adopted(job, provider, desk) or job
    if job.remote is None:
        return _put(job, desk, state=JobState.CANCELLED, cause="user")
    remote_id = job.remote.id
    return _record(job, retry.call(lambda: provider.cancel(remote_id), clock=desk.clock), desk)


def _adopted(job: Job, provider: Provider, desk: Desk) -> Job | None:
    """Look for the remote job that carries our id, as long as the provider's list may lag behind.

    The lag counts from now: `creating` may be long before the call whose answer was lost, and clocks jump. A provider
    that will not let us look leaves it open whether there is one, so the job is kept.
    """
    started, lag = desk.clock.monotonic(), 0.0 if job.plan.capabilities.local else LIST_LAG
    while True:
        try:
            found = retry.call(lambda: provider.find(job.id), clock=desk.clock)
        except RejectedError as error:
            raise AmbiguousError(f"{job.provider} may have {job.id}, but: {error.message}", fix=error.fix) from error
        if found is not None:
            return _record(job, found, desk)
        left = lag - (desk.clock.monotonic() - started)
        if left <= 0:
            return None
        desk.clock.sleep(min(5.0, left))


def _within_budget(job: Job, provider: Provider, request: dict[str, object], desk: Desk) -> None:
    budget = job.plan.spec.budget
    if budget is None or not isinstance(provider, Quotes):
        return
    price = retry.call(lambda: provider.quote(request), clock=desk.clock, deadline=FILE_CHECKS)
    if price is not None and price > budget.usd:
        raise QuotaError(f"{job.provider} quotes ${price:.2f}, the budget is ${budget.usd:.2f}")


def _record(job: Job, remote: RemoteJob, desk: Desk) -> Job:
    """Write down what the provider says, if the job has not ended; success needs a model. The caller acts for it."""
    if job.state.is_terminal:
        return job
    if job.remote is not None and remote.id != job.remote.id:
        raise ProviderError(f"{job.provider} answered about {remote.id} when asked for {job.remote.id}")
    nameless = remote.state is JobState.SUCCEEDED and remote.model is None
    return _put(
        job,
        desk,
        remote=remote,
        state=JobState.FINALIZING if nameless else remote.state,
        error=remote.error,
        cause=remote.cause,
        cost=_cost(job, remote),
    )


def _cost(job: Job, remote: RemoteJob) -> Decimal | None:
    if remote.cost is not None or remote.trained_tokens is None:
        return remote.cost if remote.cost is not None else job.cost
    bill = planner.bill(remote.trained_tokens, job.plan.spec, job.plan.capabilities.price)
    return job.cost if bill is None else bill.quantize(Decimal("0.0001"))


def _put(job: Job, desk: Desk, **changes: object) -> Job:
    changed = job.model_copy(update={**changes, "updated_at": desk.clock.now()})
    desk.store.put(changed)
    return changed


def _cause(error: RejectedError) -> Cause:
    if isinstance(error, QuotaError):
        return "billing"
    return "provider" if isinstance(error, ClosedError) else "user"
