"""A hosted job goes on once a wish, by the rules and within the budget that hold then."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from anytune import jobs
from anytune.errors import AmbiguousError, RateLimitedError, RefusedError, RejectedError, UnavailableError
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import Capabilities, Policy, Price
from anytune.testing import FakeProvider
from tests.rigs import Bench, make_bench, profile

STARTS = "resume"


class RentedFake(FakeProvider):
    """Rent a machine at 2 dollars for at most 3 hours; each `resume` rents one more, which shows after `lag` looks."""

    lag = hidden = 0
    spent: Decimal | None = None

    def capabilities(self, model: str) -> Capabilities:
        price = Price(per_hour=Decimal(2), hours=Decimal(3), as_of=date(2026, 11, 22), source="invented for tests")
        return super().capabilities(model).model_copy(update={"price": price})

    def resume(self, remote_id: str) -> RemoteJob:
        self._call(STARTS)
        self.service.jobs[remote_id]["status"], self.hidden = "waiting", self.lag
        self._fault("lost")
        return self._remote(remote_id)

    def retrieve(self, remote_id: str) -> RemoteJob:
        told = super().retrieve(remote_id) if self.service.jobs[remote_id]["status"] != "held" else None
        if told is None or self.hidden:
            self.hidden = max(0, self.hidden - 1)
            update = {"state": JobState.PAUSED, "status": "held", "model": None, "cost": self.spent}
            return self._remote(remote_id).model_copy(update=update)
        return told

    def hold(self, remote_id: str) -> None:
        self.service.jobs[remote_id]["status"] = "held"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = make_bench(tmp_path)
    provider = RentedFake(profile(tmp_path), made.service)
    made.service.polls_to_end = 100
    return dataclasses.replace(
        made, provider=provider, desk=dataclasses.replace(made.desk, provider=lambda _: provider)
    )


def paused(bench: Bench, **changes: object) -> tuple[Job, RentedFake]:
    job, provider = jobs.submit(bench.plan(**changes), desk=bench.desk), bench.provider
    assert isinstance(provider, RentedFake)
    assert job.remote is not None
    provider.hold(job.remote.id)
    return job, provider


def rented(bench: Bench) -> int:
    return bench.service.calls.count(STARTS)


def test_a_paused_job_goes_on_and_it_is_decided_about(bench: Bench) -> None:
    job, _ = paused(bench)
    going = jobs.resume(job.id, desk=bench.desk)
    assert (going.state, rented(bench)) == (JobState.QUEUED, 1)
    assert [link.decision.act for link in bench.store.decisions()] == ["submit", "resume"]


def test_a_policy_that_became_stricter_holds_for_a_job_that_goes_on(bench: Bench) -> None:
    job, _ = paused(bench)
    with pytest.raises(RefusedError, match="may not go on at fake"):
        jobs.resume(job.id, desk=dataclasses.replace(bench.desk, policy=Policy(residency="local")))
    assert rented(bench) == 0


@pytest.mark.parametrize(
    ("budget", "spent", "goes"), [(13, None, True), (11, None, False), (11, "1.50", True), (7, "1.50", False)]
)
def test_one_more_machine_is_held_against_the_budget_with_the_cost_so_far(
    bench: Bench, budget: int, spent: str | None, goes: bool
) -> None:
    """Where the cost so far is not known, the most that it could be counts."""
    job, provider = paused(bench, budget={"usd": budget})
    provider.spent = spent and Decimal(spent)  # type: ignore[assignment]
    if goes:
        assert jobs.resume(job.id, desk=bench.desk).state is JobState.QUEUED
        return
    with pytest.raises(RefusedError) as caught:
        jobs.resume(job.id, desk=bench.desk)
    assert f"${Decimal(spent or 6):.2f} so far, and 3 hours more at $2 an hour" in caught.value.reasons[0]
    assert rented(bench) == 0


def test_the_projects_budget_as_it_is_now_counts(bench: Bench) -> None:
    job, _ = paused(bench)
    with pytest.raises(RefusedError, match="may not go on"):
        jobs.resume(job.id, desk=dataclasses.replace(bench.desk, policy=Policy(budget_usd=Decimal(8))))


def test_what_passes_by_itself_is_waited_out_before_a_job_goes_on(bench: Bench) -> None:
    job, _ = paused(bench)
    bench.service.faults[STARTS] = [RateLimitedError("slowly", retry_after=7.0), UnavailableError("no route to host")]
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.QUEUED
    assert (rented(bench), sum(bench.clock.slept) >= 7.0) == (3, True)


def test_a_lost_answer_to_resume_rents_one_machine(bench: Bench) -> None:
    job, provider = paused(bench)
    bench.service.faults["lost"], provider.lag = [AmbiguousError("dropped")], 3
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.RUNNING
    assert rented(bench) == 1


def test_a_machine_that_the_list_does_not_show_yet_is_waited_for_before_another_is_rented(bench: Bench) -> None:
    job, provider = paused(bench)
    provider.lag = 5
    jobs.resume(job.id, desk=bench.desk)
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.PAUSED
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.RUNNING
    assert rented(bench) == 1


def test_a_process_that_died_after_the_order_does_not_rent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job, provider = paused(bench)
    bench.service.faults["lost"], provider.lag = [KeyboardInterrupt()], 4  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        jobs.resume(job.id, desk=bench.desk)
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.RUNNING
    assert rented(bench) == 1


def test_an_order_that_surely_came_to_nothing_is_given_again(bench: Bench) -> None:
    job, _ = paused(bench)
    bench.service.faults[STARTS] = [AmbiguousError("dropped on the way"), RejectedError("no")]
    for error in (AmbiguousError, RejectedError):
        with pytest.raises(error):
            jobs.resume(job.id, desk=bench.desk)
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.QUEUED


def test_a_job_that_pauses_again_goes_on_again(bench: Bench) -> None:
    job, provider = paused(bench)
    remote = jobs.resume(job.id, desk=bench.desk).remote
    assert remote is not None
    provider.hold(remote.id)
    assert jobs.resume(job.id, desk=bench.desk).state is JobState.QUEUED
    assert rented(bench) == 2
