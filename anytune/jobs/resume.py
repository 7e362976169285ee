"""Going on with a job that was interrupted: a hosted one may cost once more, so it passes the gate and its budgets.

The wish is written before the act, as for `create`: where one was written before, or its answer was lost, the job is
looked at for as long as the provider's list may lag, so that one wish never rents two machines.
"""

from __future__ import annotations

from decimal import Decimal

from anytune import planner, policy, retry, spending
from anytune.errors import AmbiguousError, ProviderError, RefusedError
from anytune.jobs.desk import Desk, put, record
from anytune.jobs.life import refresh
from anytune.jobs.permit import permit
from anytune.jobs.reserve import limits_of, reserve
from anytune.jobs.submit import LIST_LAG
from anytune.providers.base import Provider, QuotesResume, Resumes
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import CostEstimate, Policy

NOTHING = Decimal(0)


def resume(job_id: str, *, desk: Desk) -> Job:
    """Go on with a job that was interrupted, in its submit or in its run.

    Raises `RefusedError` where a hosted job may not go on: by the rules for its data, or as its budget would not do,
    and `OverBudgetError` where that of the month would not.
    """
    job = refresh(job_id, desk=desk)
    provider = desk.provider(job.provider)
    if job.state is not JobState.PAUSED or not isinstance(provider, Resumes):
        return job
    with desk.store.acting(job.id):
        job = desk.store.get(job.id)
        if job.state is not JobState.PAUSED or job.remote is None:
            return job  # another process was quicker: it may cost
        if job.plan.capabilities.local:
            return record(job, provider.resume(job.remote.id), desk)
        return _hosted(job, job.remote.id, provider, desk)


def once_more(job: Job, quote: Decimal | None = None) -> CostEstimate:
    """Return what it may cost that a paused job goes on: one more rent of its machine, else what was foreseen anyway.

    `quote` is the provider's own price of it.
    """
    price = job.plan.capabilities.price
    if quote is not None:
        basis = f"what {job.provider} quotes for going on"
        return CostEstimate(low=NOTHING, expected=quote, high=quote, basis=basis)
    if price is None or price.per_hour is None or price.hours is None:
        if job.plan.cost.high is None:
            return CostEstimate(low=None, expected=None, high=None, basis=job.plan.cost.basis)
        return CostEstimate(low=NOTHING, expected=NOTHING, high=NOTHING, basis="the estimate is of the whole job")
    more = price.per_hour * price.hours
    basis = f"{price.hours.normalize():f} hours more at ${price.per_hour} an hour"
    return CostEstimate(low=NOTHING, expected=more, high=more, basis=basis, as_of=price.as_of)


def _hosted(job: Job, remote_id: str, provider: Resumes, desk: Desk) -> Job:
    if job.resuming is not None and (going := _gone_on(job, remote_id, desk)) is not None:
        return record(job, going, desk)
    asked = desk.provider(job.provider)
    permit(
        job,
        act="resume",
        data=planner.sent(job.plan.data),
        capabilities=desk.place(asked.capabilities(job.plan.spec.model)),
        desk=desk,
        fix=f"anytune cancel {job.id}",
    )
    more = once_more(job, _quoted(job, remote_id, provider, desk))
    _afford(job, more, desk)
    if more.high != NOTHING:
        job = reserve(job.model_copy(update={"orders": spending.settled(job)}), more, desk, anew=True)
    job = put(job, desk, resuming=desk.clock.now())
    try:
        remote = retry.call(lambda: provider.resume(remote_id), clock=desk.clock, repeat=retry.SURELY_NOT_DONE)
    except AmbiguousError:
        going = _gone_on(job, remote_id, desk)
        if going is None:
            raise
        remote = going
    except ProviderError:
        if more.high != NOTHING:
            put(job, desk, orders=spending.void(job.orders))
        raise
    return record(job, remote, desk)


def _gone_on(job: Job, remote_id: str, desk: Desk) -> RemoteJob | None:
    """Look whether the job goes on, as long as the provider may show it as it was; None where it stays paused."""
    provider: Provider = desk.provider(job.provider)
    until = desk.clock.monotonic() + LIST_LAG
    while True:
        remote = retry.call(lambda: provider.retrieve(remote_id), clock=desk.clock)
        if remote.state is not JobState.PAUSED:
            return remote
        left = until - desk.clock.monotonic()
        if left <= 0:
            return None
        desk.clock.sleep(min(5.0, left))


def _quoted(job: Job, remote_id: str, provider: Resumes, desk: Desk) -> Decimal | None:
    """Ask for the exact price where there is a budget, as before the job was made."""
    budgets = policy.bounded(job.plan.spec, desk.policy).budget is not None or limits_of(job, desk)
    if not budgets or not isinstance(provider, QuotesResume):
        return None
    return retry.call(lambda: provider.quote_resume(remote_id), clock=desk.clock)


def _afford(job: Job, more: CostEstimate, desk: Desk) -> None:
    """Raise `RefusedError` where one more whole rent of the machine may go beyond the job's budget.

    What it cost so far is the provider's figure, else the most that it was said to cost before it began.
    """
    spec = policy.bounded(job.plan.spec, desk.policy)
    if spec.budget is None or more.high == NOTHING or more.high is None:
        return
    known = (job.cost, job.quote, job.plan.cost.high)
    so_far = next((cost for cost in known if cost is not None), NOTHING)
    whole = CostEstimate(
        low=so_far,
        expected=so_far + more.high,
        high=so_far + more.high,
        basis=f"${so_far:.2f} so far, and {more.basis}",
    )
    if reasons := policy.budget(spec, whole, Policy()):
        fix = f"anytune cancel {job.id} ends it; another job (--again) has a budget of its own"
        raise RefusedError(f"{job.id} may not go on", reasons=reasons, fix=fix)
