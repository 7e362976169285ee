"""The life of a job: written down before each act, looked for before it is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    ClosedError,
    ConflictError,
    JobFailedError,
    KeyRefusedError,
    NotYetError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    UnavailableError,
)
from anytune.schema.job import JobState
from anytune.schema.plan import Policy
from tests.rigs import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def states(bench: Bench, job_id: str) -> list[JobState]:
    return [update.job.state for update in jobs.follow(job_id, desk=bench.desk)]


def test_a_job_goes_from_plan_to_model(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    assert job.state is JobState.QUEUED
    assert states(bench, job.id) == [JobState.RUNNING, JobState.RUNNING, JobState.SUCCEEDED]
    assert jobs.model(bench.store.get(job.id)).name == "tuned-remote-1"


def test_a_refused_plan_sends_and_writes_nothing(bench: Bench) -> None:
    plan = bench.plan(policy=Policy(residency="local"))
    with pytest.raises(RefusedError) as caught:
        jobs.submit(plan, desk=bench.desk)
    assert "may not leave this machine" in caught.value.reasons[0]
    assert bench.service.calls == []
    assert list(bench.store.list()) == []


def test_the_same_job_twice_is_one_job(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.submit(bench.plan(), desk=bench.desk).id == first.id
    assert bench.service.calls.count("create") == 1
    assert bench.service.calls.count("upload") == 1


def test_again_makes_another(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    second = jobs.submit(bench.plan(), desk=bench.desk, again=True)
    assert second.id != first.id
    assert second.attempt == 2
    assert jobs.submit(bench.plan(), desk=bench.desk).id == second.id


def test_other_settings_under_the_same_name_are_a_conflict_while_the_first_lives(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(ConflictError, match=first.id):
        jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk)
    jobs.cancel(first.id, desk=bench.desk)
    assert jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk).attempt == 2


def test_a_budget_or_a_test_file_does_not_make_it_another_job(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.submit(bench.plan(budget={"usd": 5}), desk=bench.desk).id == first.id


def test_a_lost_answer_does_not_pay_twice(bench: Bench) -> None:
    bench.service.faults["lost"] = [AmbiguousError("dropped")]
    job = jobs.submit(bench.plan(), desk=bench.desk)
    assert job.remote is not None
    assert bench.service.calls.count("create") == 1
    assert len(bench.service.jobs) == 1


def test_an_answer_lost_before_the_act_leads_to_a_second_create_only_after_the_list_may_lag(bench: Bench) -> None:
    bench.service.faults["create"] = [AmbiguousError("dropped before acting")]
    job = jobs.submit(bench.plan(), desk=bench.desk)
    assert job.remote is not None
    assert len(bench.service.jobs) == 1
    assert bench.service.calls.count("find") > 3
    assert sum(bench.clock.slept) >= jobs.LIST_LAG


def test_when_no_answer_comes_for_good_the_job_is_kept_and_goes_on_later(bench: Bench) -> None:
    bench.service.faults["create"] = [AmbiguousError("dropped")] * jobs.CREATE_ROUNDS
    with pytest.raises(AmbiguousError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (kept,) = bench.store.list()
    assert kept.state is JobState.SUBMITTING
    assert jobs.resume(kept.id, desk=bench.desk).state is not JobState.SUBMITTING
    assert len(bench.service.jobs) == 1


def test_a_rate_limit_is_waited_out_as_long_as_the_provider_says(bench: Bench) -> None:
    bench.service.faults["upload"] = [RateLimitedError("busy", retry_after=42)]
    jobs.submit(bench.plan(), desk=bench.desk)
    assert bench.clock.slept[0] == 42


def test_a_create_refused_for_now_is_sent_again_and_one_refused_for_good_is_not(bench: Bench) -> None:
    bench.service.faults["create"] = [RateLimitedError("busy", retry_after=1), UnavailableError("down")]
    jobs.submit(bench.plan(), desk=bench.desk)
    assert len(bench.service.jobs) == 1
    bench.service.faults["create"] = [RejectedError("n_epochs is wrong")]
    with pytest.raises(RejectedError):
        jobs.submit(bench.plan(), desk=bench.desk, again=True)
    failed = bench.store.list()[0]
    assert (failed.state, failed.cause, failed.error) == (JobState.FAILED, "user", "n_epochs is wrong")


def test_a_closed_provider_is_not_the_users_fault(bench: Bench) -> None:
    bench.service.faults["create"] = [ClosedError("no new jobs")]
    with pytest.raises(ClosedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    assert bench.store.list()[0].cause == "provider"


def test_a_refused_key_keeps_the_job_and_what_was_uploaded(bench: Bench) -> None:
    bench.service.faults["create"] = [KeyRefusedError("not this key")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (kept,) = bench.store.list()
    assert kept.state is JobState.SUBMITTING
    assert kept.files == {"train": next(iter(kept.files.values()))}
    jobs.resume(kept.id, desk=bench.desk)
    assert bench.service.calls.count("upload") == 1


def test_a_provider_that_cannot_be_reached_does_not_end_the_wait(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["retrieve"] = [UnavailableError("no network")] * 20
    seen = states(bench, job.id)
    assert seen[-1] is JobState.SUCCEEDED


def test_a_wait_that_passes_its_deadline_says_how_to_come_back(bench: Bench) -> None:
    bench.service.polls_to_end = 1000
    job = jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(NotYetError) as caught:
        list(jobs.follow(job.id, desk=bench.desk, timeout=120))
    assert caught.value.fix == f"anytune watch {job.id}"
    assert bench.clock.monotonic() <= 120


def test_polls_grow_apart_to_a_ceiling_and_jitter(bench: Bench) -> None:
    bench.service.polls_to_end = 12
    job = jobs.submit(bench.plan(), desk=bench.desk)
    states(bench, job.id)
    assert 4 <= bench.clock.slept[0] <= 6
    assert max(bench.clock.slept) <= 72
    assert len({round(wait, 6) for wait in bench.clock.slept}) == len(bench.clock.slept)


def test_an_unheard_of_word_is_kept_and_ends_nothing(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.jobs["remote-1"]["status"] = "meditating"
    seen = jobs.refresh(job.id, desk=bench.desk)
    assert seen.state is JobState.UNKNOWN
    assert seen.remote is not None
    assert seen.remote.status == "meditating"
    bench.service.jobs["remote-1"]["status"] = "working"
    assert states(bench, job.id)[-1] is JobState.SUCCEEDED


def test_an_ended_job_stays_as_it_ended(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    states(bench, job.id)
    bench.service.jobs["remote-1"]["status"] = "working"
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.SUCCEEDED


def test_a_young_job_that_the_provider_does_not_show_yet_is_waited_for(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    hidden = bench.service.jobs.pop("remote-1")
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.QUEUED
    bench.clock.sleep(jobs.YOUNG)
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.UNKNOWN
    bench.service.jobs["remote-1"] = hidden
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.RUNNING


def test_cancelling_is_harmless_twice_and_after_the_end(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.cancel(job.id, desk=bench.desk).state is JobState.CANCELLED
    assert jobs.cancel(job.id, desk=bench.desk).state is JobState.CANCELLED
    with pytest.raises(JobFailedError):
        jobs.model(bench.store.get(job.id))


def test_cancelling_a_job_whose_create_was_lost_stops_the_remote_one(bench: Bench) -> None:
    bench.service.faults["lost"] = [AmbiguousError("dropped")]
    bench.service.faults["find"] = [KeyRefusedError("not now")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (kept,) = bench.store.list()
    assert kept.remote is None
    assert jobs.cancel(kept.id, desk=bench.desk).state is JobState.CANCELLED
    assert bench.service.jobs["remote-1"]["status"] == "stopped"


def test_events_are_taken_in_once(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    told = [event.id for update in jobs.follow(job.id, desk=bench.desk) for event in update.events]
    assert len(told) == len(set(told)) == 4
    assert [event.id for event in bench.store.events(job.id)] == told


def test_there_is_no_model_before_the_end(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(NotYetError):
        jobs.model(job)
