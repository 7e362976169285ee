"""Orders that cost: each fits into the budgets of its month, and is in the record, before it is given."""

from __future__ import annotations

from decimal import Decimal

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
    order = Order(at=desk.clock.now(), usd=spending.expected(cost, quote))
    wanted = spending.ordered(job, order, anew=anew).model_copy(update={"quote": job.quote if anew else quote})
    limits = limits_of(job, desk)
    if not limits:
        return wanted
    dearest = spending.most(cost, quote)
    if refused := desk.store.reserve(wanted, dearest=dearest, limits=limits):
        basis = cost.basis if quote is None else f"as {job.provider} quotes it"
        error = OverBudgetError(
            f"{job.id} does not fit into this month's budget; nothing was ordered",
            fix="anytune spend shows what is taken; budget.month stands in your config.yaml and in anytune.yaml",
        )
        error.reasons = tuple(spending.reason(found, dearest, basis=basis) for found in refused)
        raise error
    return wanted


def limits_of(job: Job, desk: Desk) -> tuple[Limit, ...]:
    """Return the budgets of a month that a job counts for: as they are here now, else as they were where it was made.

    What another user's or another project's budget is cannot be seen from here.
    """
    here = [limit for limit in desk.limits if spending.holds_for(limit, project=job.project, by=job.by)]
    seen = {"user": desk.who == job.by, "project": desk.project == job.project}
    return (*here, *(limit for limit in job.limits if not seen[limit.whose]))
