"""The life of a job after its submit: ask, follow, stop, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anytune import catalog, retry
from anytune.errors import (
    AmbiguousError,
    JobFailedError,
    NotFoundError,
    NotYetError,
    RateLimitedError,
    UnavailableError,
    UsageError,
)
from anytune.jobs import tidy
from anytune.jobs.alarm import raised
from anytune.jobs.desk import BAD_ENDS, Desk, put, record
from anytune.jobs.pace import Pace
from anytune.jobs.submit import carry_on, stop
from anytune.jobs.watched import Watched
from anytune.providers.base import Checkpoints, Exports, Measures, Pauses, TellsLater
from anytune.schema.job import Event, Job, JobState
from anytune.schema.model import Checkpoint, TunedModel

YOUNG = 600.0  # seconds for which a job that the provider does not know is thought to be on its way
PATIENCE = 300.0  # seconds for which one question to a provider is tried again
DOWNLOAD = 12 * 3600.0  # seconds for which a download that breaks off is gone on with
PASSING = (UnavailableError, RateLimitedError, AmbiguousError)


@dataclass(frozen=True)
class Update:
    """Be one look at a job: how it stands, and the events that were not known before, an alarm of ours among them."""

    job: Job
    events: Sequence[Event] = ()


def refresh(job_id: str, *, desk: Desk, patience: float = PATIENCE) -> Job:
    """Ask the provider how the job stands and write it down; an ended job stays as it ended.

    `patience` is for how many seconds a provider that cannot be reached is tried.
    """
    return _look(job_id, [], desk=desk, patience=patience)


def _look(job_id: str, news: list[Event], *, desk: Desk, patience: float) -> Job:
    """Refresh a job; where it goes on under a new id, `news` gets the last events of the old one, taken in first."""
    job = desk.store.get(job_id)
    if job.state is JobState.SUBMITTING:
        return carry_on(job.id, desk=desk)
    if job.to_remove:
        with desk.store.acting(job.id):
            job, _ = tidy.remove(desk.store.get(job.id), desk)
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
    if remote.id != known.id:
        news += fetch_events(job, desk=desk, patience=patience)
    with desk.store.acting(job.id):
        current = desk.store.get(job.id)
        overtaken = current.updated_at != job.updated_at and not remote.state.is_terminal
        moved = current.remote is not None and current.remote.id != known.id  # another process saw it go on elsewhere
        return current if overtaken or moved else record(current, remote, desk)


def follow(job_id: str, *, desk: Desk, timeout: float | None = None) -> Iterator[Update]:
    """Yield a look at the job at each poll until it ends or pauses; waits grow, with jitter, up to a ceiling.

    How often, and when its events are asked for, is `Pace`'s to say; events that came with the job itself cost nothing.
    A provider that cannot be reached does not end the wait. Raises `NotYetError` after `timeout` seconds.
    """
    started = desk.clock.monotonic()
    job = desk.store.get(job_id)
    pace = Pace(started, local=job.plan.capabilities.local)
    while True:
        waited, asked = desk.clock.monotonic() - started, 0.0
        patience = PATIENCE if timeout is None else min(PATIENCE, timeout - waited)
        news: list[Event] = []
        try:
            update = _minded(_turn(job, pace, news, desk=desk, patience=patience), desk)
            job = update.job
        except PASSING as error:
            pace.missed(desk.clock.monotonic())
            update = Update(job.model_copy(update={"error": error.message}), news)
            asked = (isinstance(error, RateLimitedError) and error.retry_after) or 0.0
        yield update
        if job.state.is_terminal or job.state is JobState.PAUSED:
            return
        waited, pause = desk.clock.monotonic() - started, max(asked, pace.pause())
        if timeout is not None and not waited + pause <= timeout:
            raise NotYetError(f"{job_id} is {job.state} after {waited:.0f} s", fix=f"anytune watch {job_id}")
        desk.clock.sleep(pause)


def _minded(update: Update, desk: Desk) -> Update:
    """Add the alarm about a job that has gone past its estimate, if it was not told before."""
    done = [event.data for event in update.events if isinstance(event.data.get("step"), int)]
    step, steps = (int(done[-1].get(name) or 0) for name in ("step", "total_steps")) if done else (0, 0)
    alarm = raised(update.job, desk, step=step, steps=steps)
    return update if alarm is None else Update(update.job, [*update.events, alarm])


def _turn(job: Job, pace: Pace, news: list[Event], *, desk: Desk, patience: float) -> Update:
    """Look at a job; where it is time to listen, ask for its events first, and for the job only if there were some.

    `news` gets each event as soon as the record has it, for none is told a second time when a later call fails.
    """
    listened = pace.listens(job, desk.clock.monotonic()) and _tells_apart(job, desk)
    if listened:
        news += fetch_events(job, desk=desk, patience=patience)
        if not news and desk.store.get(job.id).updated_at == job.updated_at:
            pace.took(job, news, desk.clock.monotonic())
            return Update(job)
    seen = _look(job.id, news, desk=desk, patience=patience)
    asked = pace.asks(seen)
    if asked:
        news += fetch_events(seen, desk=desk, patience=patience)
    pace.took(seen, news if asked or listened else None, desk.clock.monotonic())
    return Update(seen, news)


def _tells_apart(job: Job, desk: Desk) -> bool:
    """Tell whether there is anything to be asked for beside the job: its events, or its figures."""
    came = job.remote is not None and job.remote.told is not None
    return not came or isinstance(desk.provider(job.provider), Measures)


def fetch_events(job: Job | Watched, *, desk: Desk, patience: float = PATIENCE, whole: bool = False) -> Sequence[Event]:
    """Take in the provider's events and return those that are new; a job that it does not show has none.

    While a job runs on, no more is asked for than what is not known, unless the `whole` is wanted. Those of one that
    has ended are its last: that they are there is written down, too.
    """
    remote, ended = job.remote, job.state.is_terminal
    if remote is None:
        return []
    provider, came = desk.provider(job.provider), remote.told
    if came is None and isinstance(provider, TellsLater) and not (whole or ended):
        ask = partial(provider.later_events, remote.id, desk.store.event_ids(job.id))
    elif came is None:
        ask = partial(provider.events, remote.id)
    elif isinstance(provider, Measures):
        ask = partial(provider.measured, remote.id, came)
    else:
        return desk.store.add_events(job.id, came, last=ended)
    try:
        told = retry.call(ask, clock=desk.clock, deadline=patience)
    except NotFoundError:
        told, ended = list(came or ()), ended and not _is_local(job)  # one that ran on another machine is told there
    return desk.store.add_events(job.id, told, last=ended)


def _is_local(job: Job | Watched) -> bool:
    return job.local if isinstance(job, Watched) else job.plan.capabilities.local


def cancel(job_id: str, *, desk: Desk) -> Job:
    """Stop a job; harmless on one that has ended."""
    job = desk.store.get(job_id)
    with desk.store.acting(job.id):
        job = desk.store.get(job.id)
        if job.state.is_terminal:
            return job
        return stop(put(job, desk, cancel_wanted=True), desk.provider(job.provider), desk)


def pause(job_id: str, *, desk: Desk) -> Job:
    """Have a job halt, to be resumed later; harmless on one that is halted or has ended.

    Raises `UsageError` where its provider cannot, `NotYetError` for one that is not there yet.
    """
    job = refresh(job_id, desk=desk)
    provider = desk.provider(job.provider)
    if job.state.is_terminal or job.state is JobState.PAUSED:
        return job
    if not isinstance(provider, Pauses):
        raise UsageError(f"{job.provider} cannot pause a job", fix=f"anytune cancel {job.id} ends it")
    if job.remote is None:
        raise NotYetError(f"{job.id} is {job.state}: there is nothing to pause yet", fix=f"anytune watch {job.id}")
    remote_id = job.remote.id
    with desk.store.acting(job.id):
        paused = retry.call(lambda: provider.pause(remote_id), clock=desk.clock)
        return record(desk.store.get(job.id), paused, desk)


def checkpoints(job: Job, *, desk: Desk) -> list[Checkpoint]:
    """List the models of the way there that the job's provider keeps, in the order of their steps.

    Raises `UsageError` where it shows none.
    """
    provider, remote = desk.provider(job.provider), job.remote
    if not isinstance(provider, Checkpoints):
        why = _why_none(job.provider)
        raise UsageError(f"{job.provider} shows no checkpoints{why}", fix=f"anytune show {job.id}")
    if remote is None:
        return []
    return retry.call(lambda: provider.checkpoints(remote.id), clock=desk.clock)


def _why_none(provider: str) -> str:
    with suppress(UsageError):
        why = catalog.load(provider).no_checkpoints
        return f": {why}" if why else ""
    return ""


def export(job: Job, *, to: str, out: Path, desk: Desk, step: int | None = None) -> dict[str, Any]:
    """Write the job's model into the folder `out` and return its manifest; a download cut off is gone on with.

    `step` takes the model of that checkpoint.
    """
    provider, made = desk.provider(job.provider), model_at(job, step=step, desk=desk)
    if not isinstance(provider, Exports):
        raise UsageError(f"{job.provider} does not hand out weights from here")
    return retry.call(lambda: provider.export(made, to=to, out=out), clock=desk.clock, deadline=DOWNLOAD)


def model_at(job: Job, *, step: int | None, desk: Desk) -> TunedModel:
    """Return the model of a job's checkpoint of that step, whatever became of the job since; its last if None.

    Raises `UsageError` when there is no such checkpoint.
    """
    if step is None:
        return model(job)
    saved = checkpoints(job, desk=desk)
    found = next((each for each in saved if each.step == step), None)
    if found is None or job.remote is None:
        there = f"there are: {', '.join(str(each.step) for each in saved)}" if saved else f"anytune watch {job.id}"
        raise UsageError(f"{job.id} has no checkpoint of step {step}", fix=there)
    return _named(job, found.model, job.remote.id)


def model(job: Job) -> TunedModel:
    """Return the model that a job made; raise `JobFailedError` or `NotYetError` when there is none."""
    if job.state in BAD_ENDS:
        raise JobFailedError(f"{job.id} {job.state}: {job.error or 'no model was made'}")
    if job.state is not JobState.SUCCEEDED or job.remote is None or job.remote.model is None:
        raise NotYetError(f"{job.id} is {job.state}: there is no model yet", fix=f"anytune watch {job.id}")
    return _named(job, job.remote.model, job.remote.id)


def _named(job: Job, name: str, remote_id: str) -> TunedModel:
    return TunedModel(
        provider=job.provider,
        base=job.plan.spec.model,
        name=name,
        path=name if job.plan.capabilities.local else None,
        job_id=job.id,
        remote_id=remote_id,
    )
