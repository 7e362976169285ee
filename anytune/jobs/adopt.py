"""What only the user knows: which remote job is ours, and that there is none. Nothing is guessed where money is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from anytune import retry, spending
from anytune.errors import AmbiguousError, ConflictError, NotFoundError
from anytune.jobs.desk import Desk, put, record
from anytune.jobs.submit import adopted, stop
from anytune.schema.data import DataReport
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import CostEstimate, Plan
from anytune.schema.spec import DataSpec, TuneSpec

ELSEWHERE = "made elsewhere"


def adopt(provider: str, remote_id: str, *, desk: Desk) -> Job:
    """Take in a job that was made elsewhere, once: from then on it is followed as one of ours.

    Its settings and data are not known here. One that carries the id of a job of ours whose `create` was never answered
    is that job. Raises `NotFoundError` when the provider has no such job.
    """
    remote = _asked(provider, remote_id, desk)
    if (open_one := _left_open(provider, remote, desk)) is not None:
        return settle(open_one.id, remote.id, desk=desk)
    plan = _plan_of(provider, remote, desk)
    job_id = f"{plan.spec.name[:24].rstrip('-._').lower()}-{plan.fingerprint[:10]}"
    with desk.store.acting(job_id):
        known = _holding(provider, remote.id, desk)
        return known or record(_added(job_id, plan, remote, desk), remote, desk)


def _left_open(provider: str, remote: RemoteJob, desk: Desk) -> Job | None:
    """Return the job of ours that this remote job says it is, if nothing is known of what became of its `create`."""
    ours = desk.store.list(provider=provider)
    mine = (job for job in ours if job.id == remote.seen_job_id)
    return next((job for job in mine if job.remote is None and job.state is JobState.SUBMITTING), None)


def _added(job_id: str, plan: Plan, remote: RemoteJob, desk: Desk) -> Job:
    """Write the job down with the remote one at once, as a further attempt where its name is taken."""
    now, name = desk.clock.now(), plan.spec.name
    while True:
        taken = [job.attempt for job in desk.store.list(name=name, provider=plan.spec.provider)]
        made = Job(
            id=job_id,
            provider=plan.spec.provider,
            plan=plan,
            attempt=max(taken, default=0) + 1,
            state=JobState.UNKNOWN,
            project=desk.project,
            by=desk.who,
            policy=desk.policy,
            remote=remote,
            created_at=remote.created_at or now,
            updated_at=now,
        )
        if (stored := desk.store.add(made)).id == job_id:
            return stored


def settle(job_id: str, remote_id: str, *, desk: Desk) -> Job:
    """Say which remote job is ours whose `create` was never answered; raise `ConflictError` where it cannot be.

    One that was to be cancelled meanwhile is stopped.
    """
    with desk.store.acting(job_id):
        job = desk.store.get(job_id)
        if job.remote is not None and job.remote.id == remote_id:
            return job
        if job.remote is not None or job.state is not JobState.SUBMITTING:
            raise ConflictError(f"{job.id} is {job.state}: there is nothing open about it")
        remote = _asked(job.provider, remote_id, desk)
        if remote.seen_job_id not in (None, job.id):
            raise ConflictError(f"{remote.id} at {job.provider} is {remote.seen_job_id}, not {job.id}")
        if (known := _holding(job.provider, remote.id, desk)) is not None:
            raise ConflictError(f"{remote.id} at {job.provider} is {known.id} already")
        job = record(job, remote, desk)
        wanted = job.cancel_wanted and not job.state.is_terminal
        return stop(job, desk.provider(job.provider), desk) if wanted else job


def abandon(job_id: str, *, desk: Desk) -> Job:
    """End the record of a job on the user's word that its provider does not have it; none is cancelled there.

    The provider is asked once more: what it has is not given up (`ConflictError`). One that cannot be asked may have it
    all the same, which the job's `error` says.
    """
    with desk.store.acting(job_id):
        job = desk.store.get(job_id)
        if job.state.is_terminal:
            return job
        found, unasked = _still_there(job, desk)
        if found is not None:
            raise ConflictError(
                f"{job.provider} has {job.id}: {found.id}, {found.status}",
                fix=f"anytune cancel {job.id} stops it, anytune watch {job.id} follows it",
            )
        error = f"abandoned; last seen {job.state}{unasked}"
        orders = job.orders if unasked or job.remote is not None else spending.void(job.orders)
        return put(job, desk, state=JobState.CANCELLED, cause="user", error=error, orders=orders)


def _still_there(job: Job, desk: Desk) -> tuple[RemoteJob | None, str]:
    """Return the remote job if the provider shows one, and what is to be said where it cannot be asked."""
    try:
        if job.remote is not None:
            return _asked(job.provider, job.remote.id, desk), ""
        if job.creating is None:
            return None, ""
        found = adopted(job, desk.provider(job.provider), desk)
        return found.remote if found is not None else None, ""
    except NotFoundError:
        return None, ""
    except (AmbiguousError, *retry.SURELY_NOT_DONE) as error:
        return None, f"; {job.provider} could not be asked and may have it, running and charged for: {error.message}"


def _asked(provider: str, remote_id: str, desk: Desk) -> RemoteJob:
    asked = desk.provider(provider)
    return retry.call(lambda: asked.retrieve(remote_id), clock=desk.clock)


def _holding(provider: str, remote_id: str, desk: Desk) -> Job | None:
    known = desk.store.list(provider=provider)
    return next((job for job in known if job.remote is not None and job.remote.id == remote_id), None)


def _plan_of(provider: str, remote: RemoteJob, desk: Desk) -> Plan:
    """Make the plan of a job of which only its provider's word is known."""
    base = remote.base or "unknown"
    named = re.sub(r"[^A-Za-z0-9._-]+", "-", remote.id.rpartition("/")[2]).strip("-._")[:64] or "adopted"
    spec = TuneSpec(
        name=named if named[0].isalnum() else f"a{named}"[:64],
        provider=provider,
        model=base,
        data=DataSpec(train=Path(remote.training_file or "unknown")),
    )
    return Plan(
        spec=spec,
        capabilities=desk.provider(provider).capabilities(base),
        data=DataReport(files=()),
        files=(),
        settings=(),
        cost=CostEstimate(low=None, expected=None, high=None, basis=ELSEWHERE),
        fingerprint=hashlib.sha256(f"{provider}\n{remote.id}".encode()).hexdigest(),
        made_on=desk.clock.now().date(),
    )
