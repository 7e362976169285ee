"""A job that runs past its estimate is told of once: by its provider's figure, by time, or by its steps."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from anytune import jobs
from anytune.jobs.alarm import ID, raised
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.money import Order
from anytune.schema.plan import ResourceEstimate
from tests.rigs import Bench, make_bench

HOUR = 3600.0
NEED = ResourceEstimate(
    seconds_low=1800, seconds_expected=HOUR, seconds_high=2 * HOUR, memory_low=1, memory_expected=1, memory_high=1,
    memory_available=2, watt_hours=0.0, device="cpu", basis="a test",
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = make_bench(tmp_path)
    made.service.polls_to_end = 10_000
    return made


def running(bench: Bench, *, most: str = "4.00", per_hour: str | None = None, **changes: Any) -> Job:
    """Have a job that runs and was expected to cost so much at most."""
    job = jobs.refresh(jobs.submit(bench.plan(), desk=bench.desk).id, desk=bench.desk)
    assert job.state is JobState.RUNNING
    order = Order(
        at=bench.clock.now(), usd=Decimal(most) / 2, most=Decimal(most), per_hour=per_hour and Decimal(per_hour)
    )
    job = job.model_copy(update={"orders": (order,), "history": job.history[-1:], **changes})
    bench.store.put(job)
    return job


def test_by_the_providers_own_figure(bench: Bench) -> None:
    job = running(bench, cost=Decimal("4.01"), cost_basis="as fake says")
    event = raised(job, bench.desk)
    assert event is not None
    assert event.level == "warning"
    (news,) = bench.store.untold("me", since=bench.clock.now())
    assert (news.job_id, news.what) == (job.id, "past_estimate")
    told = json.loads(news.body)
    assert (told["id"], told["alarm"]["now"], told["alarm"]["most"]) == (job.id, "4.01", "4.00")
    for said in ("$4.01 so far (as fake says)", "at most $4.00 was expected", f"anytune cancel {job.id} stops it"):
        assert said in event.message


def test_what_was_expected_at_most_is_no_reason(bench: Bench) -> None:
    assert raised(running(bench, cost=Decimal("4.00")), bench.desk) is None
    assert raised(running(bench, cost=Decimal("9"), state=JobState.SUCCEEDED), bench.desk) is None


def test_it_is_told_once_whoever_looks(bench: Bench) -> None:
    job = running(bench, cost=Decimal(5))
    assert raised(job, bench.desk) is not None
    assert raised(job, bench.desk) is None
    assert [event.id for event in bench.store.events(job.id)].count(ID) == 1


def test_by_the_time_at_the_price_of_the_machine_and_not_while_it_waits(bench: Bench) -> None:
    job = running(bench, per_hour="2")
    bench.clock.sleep(2 * HOUR)
    assert raised(job, bench.desk) is None
    waited = job.model_copy(update={"state": JobState.QUEUED, "history": ()})
    bench.clock.sleep(HOUR)
    assert raised(waited, bench.desk) is None
    found = raised(job, bench.desk)
    assert found is not None
    assert "$6.00 so far (10,800 s at $2.00 an hour)" in found.message


def test_by_the_steps_where_there_are_more_than_were_said(bench: Bench) -> None:
    job = running(bench)
    assert raised(job, bench.desk, step=100, steps=100) is None
    assert raised(job, bench.desk, step=201, steps=100) is not None


def test_a_local_run_is_alarmed_at_the_price_that_the_settings_name(bench: Bench) -> None:
    plan = bench.plan()
    can = plan.capabilities.model_copy(update={"local": True, "usd_per_hour": Decimal(3)})
    cost = plan.cost.model_copy(update={"low": Decimal("1.5"), "expected": Decimal(3), "high": Decimal(6)})
    plan = plan.model_copy(update={"capabilities": can, "resources": NEED, "cost": cost})
    job = jobs.refresh(jobs.submit(plan, desk=bench.desk).id, desk=bench.desk)
    assert job.orders[0].per_hour == 3
    bench.clock.sleep(2.5 * HOUR)
    found = raised(job, bench.desk)
    assert found is not None
    assert "$7.50 so far" in found.message
    assert "at most $6.00 was expected" in found.message


def test_a_free_run_and_one_without_a_known_price_raise_none(bench: Bench) -> None:
    job = running(bench, most="0", cost=Decimal(1))
    assert raised(job, bench.desk) is None
    unknown = job.model_copy(update={"orders": (Order(at=bench.clock.now(), usd=None),)})
    assert raised(unknown, bench.desk) is None


@pytest.mark.engine
def test_two_watchers_of_all_jobs_tell_it_once(bench: Bench) -> None:
    job = running(bench, per_hour="2")
    sweeps = [jobs.Sweep(bench.desk, bench.folder / f"home{n}", random=Random(n)) for n in range(2)]
    told = []
    for _ in range(300):
        told += [notice for at in sweeps for notice in at.turn().notices if "past its estimate" in notice.text]
        bench.clock.sleep(60)
    assert len(told) == 1
    assert len(bench.store.untold("me", since=job.created_at)) == 1
    assert bench.clock.monotonic() > 3 * HOUR


def test_a_second_rent_counts_beside_what_the_first_did_cost(bench: Bench) -> None:
    job = running(bench, per_hour="2")
    first = job.orders[0].model_copy(update={"usd": Decimal("3.00")})
    bench.clock.sleep(10 * HOUR)
    again = Order(at=bench.clock.now(), usd=Decimal(4), most=Decimal(4), per_hour=Decimal(2))
    stay = job.history[-1].model_copy(update={"since": bench.clock.now()})
    job = job.model_copy(update={"orders": (first, again), "history": (*job.history, stay)})
    bench.clock.sleep(1.9 * HOUR)
    assert raised(job, bench.desk) is None
    bench.clock.sleep(0.3 * HOUR)
    found = raised(job, bench.desk)
    assert found is not None
    assert "$7.40 so far" in found.message
    assert "at most $7.00 was expected" in found.message


@pytest.mark.parametrize(("remote", "creating", "said"), [
    (None, False, "nothing was ordered so far"),
    (RemoteJob(id="r", status="s", state=JobState.RUNNING), True, "what fake bills of a job that is cancelled is not"),
])  # fmt: skip
def test_what_cancelling_costs_is_said_also_where_nobody_knows(
    bench: Bench, remote: RemoteJob | None, creating: bool, said: str
) -> None:
    job = running(bench).model_copy(
        update={"remote": remote, "creating": bench.clock.now() if creating else None}
    )  # fmt: skip
    assert said in jobs.cancelling(job)
