"""When a provider refuses for reasons of its own, a job may go elsewhere: what counts as that, and how its record ends.

Of its own are: it takes no such jobs any more, the account may not spend there, it has the model no more, it cannot be
reached for longer than `OUTAGE`. A fault of the data, of a setting, of the key or of the user's own budget is none, and
nobody else is asked then. Nor while the job may stand at the provider: it is looked for, and nothing is made twice.
"""

from __future__ import annotations

from anytune import retry, spending
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ClosedError,
    OverBudgetError,
    ProviderError,
    QuotaError,
    RejectedError,
)
from anytune.jobs.desk import Desk, put
from anytune.jobs.submit import adopted, carry_on, intend, word_wanted
from anytune.schema.job import Job, JobState
from anytune.schema.plan import Plan

OUTAGE = 300.0  # seconds for which a provider may be away before a job goes elsewhere
ALWAYS = 1000  # attempts: the time decides


def is_own(error: AnytuneError) -> bool:
    """Tell whether a provider refused a job for reasons of its own."""
    if isinstance(error, OverBudgetError):
        return False
    if isinstance(error, (ClosedError, QuotaError, *retry.SURELY_NOT_DONE)):
        return True
    return isinstance(error, RejectedError) and error.param == "model"


def was_own(job: Job) -> bool:
    """Tell whether a job ended because its provider had refused it for reasons of its own, and never had it."""
    return job.state is JobState.FAILED and job.remote is None and job.cause in ("provider", "billing")


def submit_or_leave(plan: Plan, *, desk: Desk, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
    """Carry out a plan as `submit` does, and end the job's record when its provider cannot be reached for `OUTAGE`.

    `instead_of` says who refused it before and why. Raises as `submit` does; where `is_own` holds for the error, the
    record has ended and surely no job was made. `AmbiguousError` when the provider may have the job.
    """
    job = intend(plan, desk=desk, again=again, instead_of=instead_of)
    try:
        return retry.call(
            lambda: carry_on(job.id, desk=desk, plan=plan),
            clock=desk.clock,
            repeat=retry.SURELY_NOT_DONE,
            attempts=ALWAYS,
            deadline=OUTAGE,
        )
    except retry.SURELY_NOT_DONE as error:
        left = _leave(job.id, error, desk)
        if left.state is JobState.FAILED:
            raise
        return left


def _leave(job_id: str, error: ProviderError, desk: Desk) -> Job:
    """End the record of a job that its provider surely does not have; one that it has is returned as it stands."""
    with desk.store.acting(job_id):
        job = desk.store.get(job_id)
        if job.state is not JobState.SUBMITTING:
            return job
        if job.creating is not None and (found := _sought(job, desk)) is not None:
            return found
        orders = spending.void(job.orders)
        if job.cancel_wanted:  # nobody else is to train it either
            return put(job, desk, state=JobState.CANCELLED, cause="user", orders=orders)
        return put(job, desk, state=JobState.FAILED, cause="provider", error=error.message, orders=orders)


def _sought(job: Job, desk: Desk) -> Job | None:
    try:
        return adopted(job, desk.provider(job.provider), desk)
    except retry.SURELY_NOT_DONE as error:
        said = f"{job.provider} may have {job.id} and cannot be asked: {error.message}"
        raise AmbiguousError(said, fix=word_wanted(job)) from error
