"""What a job did cost, as far as it is known, and by what."""

from __future__ import annotations

from decimal import Decimal

from anytune import cost as reckoning
from anytune.schema.job import Job, JobState, RemoteJob

HUNDREDTH = Decimal("0.0001")  # of a cent


def known(job: Job, remote: RemoteJob) -> dict[str, object]:
    """Return what is known of the cost now; one that was known stays while nothing newer is told."""
    cost, basis = _cost(job, remote)
    if cost is None:
        return {}
    good = remote.state is JobState.SUCCEEDED
    off = reckoning.deviation(job.plan.cost, cost) if good else None
    return {"cost": cost, "cost_basis": basis, "deviation": off}


def _cost(job: Job, remote: RemoteJob) -> tuple[Decimal | None, str | None]:
    """Return the cost and what it goes by: the provider's own figure, its tokens at the plan's price, or hours here."""
    known, tokens = job.plan.capabilities, remote.trained_tokens
    if remote.cost is not None:
        return remote.cost, known.billed_as or f"as {job.provider} says"
    if known.local:
        return _own_cost(job, remote)
    bill = reckoning.bill(tokens, job.plan.spec, known.price) if tokens is not None else None
    if bill is None or known.price is None:
        return None, None
    return bill.quantize(HUNDREDTH), f"{tokens:,} trained tokens at the price of {known.price.as_of}"


def _own_cost(job: Job, remote: RemoteJob) -> tuple[Decimal | None, str | None]:
    rate = reckoning.own_rate(job.plan.capabilities, job.plan.resources)
    if rate is None or remote.created_at is None or remote.finished_at is None:
        return None, None
    seconds = (remote.finished_at - remote.created_at).total_seconds()
    return (Decimal(seconds) * rate).quantize(HUNDREDTH), f"{seconds:,.0f} s at what your settings say"
