"""Orders that cost: each fits into the budgets of its month, and is in the record, before it is given."""

from __future__ import annotations

from decimal import Decimal

from anytune import cost as reckoning
from anytune import spending
from anytune.errors import OverBudgetError
from anytune.jobs.desk import Desk
from anytune.schema.job import Job
from anytune.schema.money import Limit, Order
from anytune.schema.plan import CostEstimate


def reserve(job: Job, cost: CostEstimate, desk: Desk, *, quote: Decimal | None = None, anew: bool = False) -> Job:
    """Return the job with an order of so much; raise `OverBudgetError` where a budget of this month has no room for it.

    The look into the budgets and the order's record are one step in the store, so that processes which order at once
    keep to a budget together. Without a budget the order is written with the job's next change, which comes before
    anything is ordered. `anew` puts it behind the job's other orders, instead of in the place of one not yet given.
    """
    dearest = spending.most(cost, quote)
    now, usd = desk.clock.now(), spending.expected(cost, quote)
    order = Order(at=now, usd=usd, most=dearest, per_hour=_per_hour(job))
    wanted = spending.ordered(job, order, anew=anew).model_copy(update={"quote": job.quote if anew else quote})
    limits = limits_of(job, desk)
    if not limits:
        return wanted
    if refused := desk.store.reserve(wanted, dearest=dearest, limits=limits):
        basis = cost.basis if quote is None else f"as {job.provider} quotes it"
        error = OverBudgetError(
            f"{job.id} does not fit into this month's budget; nothing was ordered",
            fix="anytune spend shows what is taken; budget.month stands in your config.yaml and in anytune.yaml",
        )
        error.reasons = tuple(spending.reason(found, dearest, basis=basis) for found in refused)
        raise error
    return wanted


def _per_hour(job: Job) -> Decimal | None:
    can = job.plan.capabilities
    if can.local:
        second = reckoning.own_rate(can, job.plan.resources)
        return None if second is None else second * 3600
    return can.price.per_hour if can.price is not None else None


def limits_of(job: Job, desk: Desk) -> tuple[Limit, ...]:
    """Return the budgets of a month that a job counts for: as they are here now, else as they were where it was made.

    What another user's or another project's budget is cannot be seen from here.
    """
    here = [limit for limit in desk.limits if spending.holds_for(limit, project=job.project, by=job.by)]
    seen = {"user": desk.who == job.by, "project": desk.project == job.project}
    return (*here, *(limit for limit in job.limits if not seen[limit.whose]))
