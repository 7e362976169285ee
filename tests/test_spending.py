"""A budget of a month holds: for all providers together and for ten processes at once; it counts what is known."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pytest

from anytune import jobs, spending
from anytune.errors import AmbiguousError, OverBudgetError, QuotaError, RejectedError, UnavailableError
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.money import Limit, Order
from anytune.store import JobStore, SqliteStore, open_store
from anytune.testing import FakeClock, FakeProvider
from anytune.testing.fake import FakeService
from anytune.testing.store import sample_job
from tests.rigs import Bench, make_bench, make_plan, profile

COST = Decimal("4.00")  # what a job of the bench counts for, below


class PricedFake(FakeProvider):
    """Charge four dollars a job, as its own quote."""

    def quote(self, request: dict[str, Any]) -> Decimal | None:
        del request
        self._call("quote")
        return COST


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return held(make_bench(tmp_path), month="10")


def held(bench: Bench, *, month: str, whose: Literal["user", "project"] = "user", project: str = "there") -> Bench:
    provider = PricedFake(profile(bench.folder), bench.service)
    called = "me" if whose == "user" else project
    limits = (Limit(whose=whose, name=called, usd=Decimal(month)),) if month else ()
    desk = dataclasses.replace(bench.desk, provider=lambda _: provider, who="me", project=project, limits=limits)
    return dataclasses.replace(bench, provider=provider, desk=desk)


def submit(bench: Bench, name: str) -> Job:
    return jobs.submit(bench.plan(name=name), desk=bench.desk)


def counted(bench: Bench, month: str = "2026-11") -> Decimal:
    return sum((charge.usd or Decimal(0) for charge in bench.store.charges(month)), Decimal(0))


def test_the_third_of_three_jobs_is_refused_with_the_sum_what_is_left_and_when_it_renews(bench: Bench) -> None:
    submit(bench, "one"), submit(bench, "two")
    bench.service.calls.clear()
    with pytest.raises(OverBudgetError) as caught:
        submit(bench, "three")
    (reason,) = caught.value.reasons
    for said in ("$10.00", "$8.00 of it", "$2.00 is left", "up to $4.00", "renews on 2026-12-01 (UTC)"):
        assert said in reason
    assert "create" not in bench.service.calls
    assert bench.store.get("three").state is JobState.FAILED
    assert counted(bench) == 2 * COST, "what was refused counts for nothing"


def test_what_surely_does_not_fit_is_refused_before_anything_is_sent(bench: Bench) -> None:
    dear = bench.plan(name="dear", training={"epochs": 50})
    with pytest.raises(OverBudgetError):
        jobs.submit(
            dear.model_copy(update={"cost": dear.cost.model_copy(update={"high": Decimal(11)})}), desk=bench.desk
        )
    assert bench.service.calls == []


def test_next_month_there_is_room_again(bench: Bench) -> None:
    submit(bench, "one"), submit(bench, "two")
    bench.clock.sleep(9 * 86400.0)
    assert submit(bench, "three").remote is not None
    assert (counted(bench), counted(bench, "2026-12")) == (2 * COST, COST)


def test_the_renewal_is_the_first_of_the_next_month_by_utc() -> None:
    assert spending.renewal("2026-12") == date(2027, 1, 1)
    assert spending.month_of(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == "2026-11"


def test_what_it_did_cost_takes_the_place_of_what_was_expected(bench: Bench) -> None:
    job = submit(bench, "one")
    jobs.cancel(job.id, desk=bench.desk)
    bench.store.put(bench.store.get(job.id).model_copy(update={"cost": Decimal("0.50")}))
    assert counted(bench) == Decimal("0.50")
    submit(bench, "two"), submit(bench, "three")
    assert counted(bench) == Decimal("8.50")


def test_a_job_that_runs_counts_for_what_is_expected_even_where_it_has_cost_little_so_far(bench: Bench) -> None:
    job = submit(bench, "one").model_copy(update={"cost": Decimal("0.10"), "state": JobState.RUNNING})
    (charge,) = spending.charges(job)
    assert (charge.usd, charge.known) == (COST, False)
    (charge,) = spending.charges(job.model_copy(update={"cost": Decimal("9.00")}))
    assert (charge.usd, charge.known) == (Decimal("9.00"), False)


@pytest.mark.parametrize("error", [QuotaError("no credit"), RejectedError("bad"), UnavailableError("away")])
def test_a_job_that_was_surely_never_made_counts_for_nothing(bench: Bench, error: Exception) -> None:
    bench.service.faults["create"] = [error] * 20
    with pytest.raises(type(error)):
        submit(bench, "one")
    if bench.store.get("one").state is JobState.SUBMITTING:
        assert counted(bench) == COST, "it is tried again"
        jobs.cancel("one", desk=bench.desk)
    assert counted(bench) == 0


def test_a_job_that_may_be_there_counts_until_somebody_knows(bench: Bench) -> None:
    bench.service.faults |= {"lost": [AmbiguousError("x")], "find": [UnavailableError("away")] * 100}
    with pytest.raises(UnavailableError):
        submit(bench, "one")
    assert counted(bench) == COST
    jobs.abandon("one", desk=bench.desk)
    assert counted(bench) == COST, "nobody could be asked"


def test_the_projects_budget_counts_whoever_orders_and_no_other_projects_jobs(bench: Bench) -> None:
    project = held(bench, month="10", whose="project")
    others = dataclasses.replace(project, desk=dataclasses.replace(project.desk, who="you"))
    elsewhere = held(bench, month="", project="elsewhere")
    submit(project, "one"), submit(others, "two"), submit(elsewhere, "three")
    with pytest.raises(OverBudgetError, match="does not fit") as caught:
        submit(others, "four")
    assert "the budget of project 'there'" in caught.value.reasons[0]


def test_all_providers_count_together(bench: Bench) -> None:
    spare = PricedFake(profile(bench.folder), FakeService())
    spare.name = "spare"
    submit(bench, "one")
    both = {"fake": bench.provider, "spare": spare}
    desk = dataclasses.replace(bench.desk, provider=both.__getitem__)
    jobs.submit(make_plan(bench.folder, spare, name="two"), desk=desk)
    with pytest.raises(OverBudgetError):
        jobs.submit(make_plan(bench.folder, spare, name="three"), desk=desk)
    assert {charge.provider for charge in bench.store.charges("2026-11")} == {"fake", "spare"}


def test_a_submit_that_is_carried_on_elsewhere_keeps_the_budget_that_it_was_made_under(bench: Bench) -> None:
    project = held(bench, month="3", whose="project")
    bench.store.add(begun(project))
    stranger = held(bench, month="", project="another")
    with pytest.raises(OverBudgetError):
        jobs.carry_on(begun(project).id, desk=stranger.desk)


def begun(bench: Bench) -> Job:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return Job(
        id="begun-0123456789", provider="fake", plan=bench.plan(name="begun"), created_at=now, updated_at=now,
        project="there", by="me", limits=bench.desk.limits,
    )  # fmt: skip


def test_a_budget_that_was_raised_holds_for_a_job_that_goes_on(bench: Bench) -> None:
    bench.store.add(begun(held(bench, month="3", whose="project")))
    assert jobs.carry_on("begun", desk=held(bench, month="4", whose="project").desk).remote is not None


def test_a_job_taken_in_from_elsewhere_counts_once_its_cost_is_known(bench: Bench) -> None:
    submit(bench, "one")
    bench.store._db.execute("DELETE FROM charges")  # type: ignore[attr-defined]
    bench.store._db.execute("PRAGMA foreign_keys = OFF")  # type: ignore[attr-defined]
    bench.store._db.execute("DELETE FROM jobs")  # type: ignore[attr-defined]
    taken = jobs.adopt("fake", "remote-1", desk=bench.desk)
    assert [charge.usd for charge in bench.store.charges("2026-11")] == [None]
    bench.store.put(taken.model_copy(update={"cost": Decimal(3), "state": JobState.SUCCEEDED}))
    assert counted(bench) == 3


def test_a_rent_that_follows_another_is_an_order_of_its_own() -> None:
    first = Order(at=datetime(2026, 11, 30, tzinfo=UTC), usd=Decimal(6))
    remote = RemoteJob(id="r", status="held", state=JobState.PAUSED)
    job = sample_job().model_copy(
        update={"orders": (first,), "cost": Decimal(5), "state": JobState.PAUSED, "remote": remote}
    )
    again = Order(at=datetime(2026, 12, 1, tzinfo=UTC), usd=Decimal(6))
    going = spending.ordered(job.model_copy(update={"orders": spending.settled(job)}), again, anew=True)
    going = going.model_copy(update={"state": JobState.RUNNING})
    assert [(c.month, c.usd, c.known) for c in spending.charges(going)] == [
        ("2026-11", Decimal(5), True), ("2026-12", Decimal(6), False),
    ]  # fmt: skip
    ended = going.model_copy(update={"state": JobState.SUCCEEDED, "cost": Decimal(7)})
    assert [c.usd for c in spending.charges(ended)] == [Decimal(5), Decimal(2)]


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_ten_processes_at_once_do_not_spend_more_than_there_is(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each would be the second of two that fit."""
    opened = place(kind, tmp_path, request)
    opened()
    context = get_context("fork")
    together, answers = context.Barrier(10), context.SimpleQueue()

    def one(number: int) -> None:
        service = FakeService()
        provider = PricedFake(profile(tmp_path), service)
        desk = jobs.Desk(
            store=opened(), provider=lambda _: provider, clock=FakeClock(), who="me", project="there",
            limits=(Limit(whose="project", name="there", usd=Decimal(10)),),
        )  # fmt: skip
        plan = make_plan(tmp_path / str(number), provider, name=f"job-{number}")
        together.wait()
        try:
            jobs.submit(plan, desk=desk)
            answers.put(("made", len(service.jobs)))
        except OverBudgetError:
            answers.put(("refused", len(service.jobs)))
        except BaseException as error:
            answers.put((repr(error), 0))
        os._exit(0)

    for number in range(10):
        (tmp_path / str(number)).mkdir()
    processes = [context.Process(target=one, args=(number,)) for number in range(10)]
    for process in processes:
        process.start()
    said = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    assert sorted(said) == [("made", 1)] * 2 + [("refused", 0)] * 8
    told = opened().charges("2026-11")
    assert sum((charge.usd or Decimal(0) for charge in told), Decimal(0)) == 2 * COST


def place(kind: str, folder: Path, request: pytest.FixtureRequest) -> Callable[[], JobStore]:
    if kind == "sqlite":
        return lambda: SqliteStore(folder / "home", busy_seconds=60)
    server = request.getfixturevalue("server")
    address = server.address(server.database())
    return lambda: open_store(folder, address=address)
