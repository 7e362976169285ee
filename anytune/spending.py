"""What jobs count for in the budget of a month, and what stands against one more: pure, by calendar months of UTC.

An order counts from the moment before it is sent: for the provider's own quote where it gave one, else for what the
plan expects, and for what it did cost once that is known. It counts for the month in which it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from anytune.schema.job import Job, JobState
from anytune.schema.money import Charge, Limit, Order, Standing
from anytune.schema.plan import CostEstimate

NOTHING = Decimal(0)
DONE = frozenset((JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED))


def month_of(at: datetime) -> str:
    """Name the month that a moment lies in."""
    return f"{at.astimezone(UTC):%Y-%m}"


def renewal(month: str) -> date:
    """Return the day on which the next month's budget begins."""
    year, number = map(int, month.split("-"))
    return date(year + number // 12, number % 12 + 1, 1)


def expected(cost: CostEstimate, quote: Decimal | None = None) -> Decimal | None:
    """Return what an order counts for while it runs."""
    return cost.expected if quote is None else quote


def most(cost: CostEstimate, quote: Decimal | None = None) -> Decimal | None:
    """Return what an order may cost at most, which has to fit into a budget before it is given."""
    return cost.high if quote is None else quote


def ordered(job: Job, order: Order, *, anew: bool = False) -> Job:
    """Return the job with an order that has not been given yet in its record; `anew` adds one behind those given."""
    before = job.orders if anew else job.orders[:-1]
    return job.model_copy(update={"orders": (*before, order)})


def void(orders: tuple[Order, ...]) -> tuple[Order, ...]:
    """Return the orders where the newest one came to nothing."""
    return (*orders[:-1], orders[-1].model_copy(update={"usd": NOTHING})) if orders else ()


def settled(job: Job) -> tuple[Order, ...]:
    """Return a job's orders with what the newest one did cost, where that is known by now."""
    return tuple(
        order.model_copy(update={"usd": charge.usd}) if charge.known else order
        for order, charge in zip(job.orders, charges(job), strict=False)
    )


def charges(job: Job) -> tuple[Charge, ...]:
    """Return what each order of a job counts for; one taken in from elsewhere counts once its cost is known."""
    given = job.orders
    if not given and job.remote is not None:
        given = (Order(at=job.created_at, usd=None),)
    if not given:
        return ()
    *before, last = given
    made = [_charge(job, number, order, known=True) for number, order in enumerate(before)]
    if job.cost is None:
        return (*made, _charge(job, len(before), last, known=last.usd == NOTHING))
    rest = max(NOTHING, job.cost - sum((order.usd or NOTHING for order in before), NOTHING))
    done = job.state in DONE
    usd = rest if done or last.usd is None else max(rest, last.usd)  # a job that runs is not at its end
    return (*made, _charge(job, len(before), last.model_copy(update={"usd": usd}), known=done))


def _charge(job: Job, number: int, order: Order, *, known: bool) -> Charge:
    return Charge(
        job_id=job.id,
        number=number,
        month=month_of(order.at),
        provider=job.provider,
        project=job.project,
        by=job.by,
        usd=order.usd,
        known=known,
    )


def holds_for(limit: Limit, *, project: str, by: str) -> bool:
    """Tell whether a limit is one of these."""
    return limit.name == (by if limit.whose == "user" else project)


def standing(limit: Limit, told: Iterable[Charge], month: str) -> Standing:
    """Say how a limit stands with a month's charges."""
    mine = [c for c in told if c.month == month and holds_for(limit, project=c.project, by=c.by)]
    spent = sum((charge.usd for charge in mine if charge.usd is not None), NOTHING)
    unpriced = sum(charge.usd is None for charge in mine)
    return Standing(limit=limit, month=month, renews=renewal(month), spent=spent, unpriced=unpriced)


def against(job: Job, others: Iterable[Charge], limits: Sequence[Limit], *, dearest: Decimal | None) -> list[Standing]:
    """Return the limits beyond which the newest order of a job may lead, each as it stands without that order.

    `others` are the charges of the order's month; `dearest` is what it may cost at most, None where nobody knows.
    """
    *own, newest = charges(job)
    before = [*(charge for charge in others if charge.job_id != job.id), *own]
    stand = [standing(limit, before, newest.month) for limit in limits]
    return [found for found in stand if not fits(found, dearest)]


def fits(found: Standing, dearest: Decimal | None) -> bool:
    """Tell whether an order that may cost so much fits into what is left; one of an unknown price never does."""
    return dearest is not None and (dearest == NOTHING or found.spent + dearest <= found.limit.usd)


def reason(found: Standing, dearest: Decimal | None, *, basis: str) -> str:
    """Say why an order does not fit: the sum, what is left, and when there is more."""
    until = f"it renews on {found.renews} (UTC)"
    head = f"{whose(found.limit)} for {found.month} is ${found.limit.usd:.2f}"
    if dearest is None:
        return f"{head} and the price is not known: {basis}"
    unpriced = f" (and {found.unpriced} of unknown price)" if found.unpriced else ""
    left = f"${found.spent:.2f} of it is spent or ordered{unpriced}, so ${found.left:.2f} is left"
    return f"{head}: {left}, and this may cost up to ${dearest:.2f} ({basis}); {until}"


def whose(limit: Limit) -> str:
    """Name a budget."""
    return "your own budget" if limit.whose == "user" else f"the budget of project {limit.name!r}"
