"""A job that runs past its estimate: told once, with what was expected, what it is now, and what cancelling costs.

What a job has cost so far is its provider's own figure where it gives one; else the time that it ran at the price of
its machine; else the expected cost by the share of its steps that are done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from anytune.jobs.desk import Desk
from anytune.schema.job import Event, Job, JobState, Summary
from anytune.schema.money import Order

ID = "past-its-estimate"  # of the event: there is one such event a job, whoever sees it first
PAST = "past_estimate"  # what its news are called
SLACK = Decimal("1.02")  # times as much, where time is reckoned: a look comes a little after what it sees
AT_WORK = (JobState.RUNNING, JobState.FINALIZING, JobState.CANCELLING)
HOUR = Decimal(3600)


@dataclass(frozen=True)
class Alarm:
    """Say by how much a job is past its estimate: `most` were expected at most, `now` is what it has cost, by `basis`.

    `how` is how to cancel it and what that costs.
    """

    job_id: str
    most: Decimal
    now: Decimal
    basis: str
    how: str

    @property
    def text(self) -> str:
        """Say it in one line."""
        return (
            f"{self.job_id} is past its estimate: ${self.now:.2f} so far ({self.basis}), "
            f"at most ${self.most:.2f} was expected; {self.how}"
        )

    def document(self) -> dict[str, Any]:
        """Return it as a part of a JSON document."""
        return {"most": self.most, "now": self.now, "basis": self.basis, "cancelling": self.how}


def raised(job: Job, desk: Desk, *, step: int = 0, steps: int = 0) -> Event | None:
    """Return the alarm about a job, None where there is no reason or it was told before.

    The event in the record is what it was told by: of several processes one writes it, and the news with it.
    """
    most = at_most(job.orders)
    if job.state.is_terminal or job.state is JobState.SUBMITTING or not most:
        return None
    found = so_far(job, desk.clock.now(), step=step, steps=steps)
    by_time = job.orders[-1].per_hour is not None
    if found is None or found[0] <= (most * SLACK if by_time else most):
        return None
    alarm = Alarm(job_id=job.id, most=most, now=found[0], basis=found[1], how=f"{stops(job)}: {cancelling(job)}")
    event = Event(id=ID, at=desk.clock.now(), level="warning", message=alarm.text)
    body = json.dumps({**Summary.of(job).model_dump(mode="json"), "alarm": alarm.document()}, default=str)
    return event if desk.store.raise_alarm(job, event, what=PAST, body=body) else None


def at_most(orders: Sequence[Order]) -> Decimal | None:
    """Return what a job may cost at most as it was foreseen: what earlier orders cost, and the most of the newest."""
    if not orders or orders[-1].most is None:
        return None
    return sum((order.usd or Decimal(0) for order in orders[:-1]), orders[-1].most)


def so_far(job: Job, now: datetime, *, step: int = 0, steps: int = 0) -> tuple[Decimal, str] | None:
    """Return what a job has cost so far in US dollars, and by what; None where nothing tells."""
    last = job.orders[-1] if job.orders else None
    if last is not None and last.per_hour is not None and job.state in AT_WORK:
        before = sum((order.usd or Decimal(0) for order in job.orders[:-1]), Decimal(0))
        seconds = Decimal(_at_work(job, last, now))
        basis = f"{seconds:,.0f} s at ${last.per_hour:.2f} an hour"
        return before + (seconds / HOUR * last.per_hour).quantize(Decimal("0.0001")), basis
    if job.cost is not None:
        return job.cost, job.cost_basis or f"as {job.provider} says"
    if last is not None and last.usd is not None and steps:
        return (last.usd * step / steps).quantize(Decimal("0.0001")), f"step {step:,} of {steps:,}"
    return None


def _at_work(job: Job, order: Order, now: datetime) -> float:
    """Return for how many seconds a job has been at work since an order, as it was seen."""
    stays = [stay for stay in job.history if stay.since >= order.at]
    ends = [*(later.since for later in stays[1:]), now]
    seen = (until - stay.since for stay, until in zip(stays, ends, strict=False) if stay.state in AT_WORK)
    return sum(max(0.0, time.total_seconds()) for time in seen)


def cancelling(job: Job) -> str:
    """Say what cancelling a job costs, as far as its provider says so."""
    if job.remote is None and job.creating is None:
        return "nothing was ordered so far, so it costs nothing"
    known = job.plan.capabilities.cancelling
    if known is None:
        return f"what {job.provider} bills of a job that is cancelled is not known here"
    return known.what if job.plan.capabilities.local else f"{job.provider}: {known.what} (as of {known.as_of})"


def stops(job: Job) -> str:
    """Say how to cancel a job."""
    return f"anytune cancel {job.id} stops it"
