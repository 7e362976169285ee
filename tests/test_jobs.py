"""The life of a job: written down before each act, looked for before it is repeated."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ClosedError,
    ConflictError,
    JobFailedError,
    KeyRefusedError,
    NotFoundError,
    NotYetError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    StoreError,
    UnavailableError,
)
from anytune.jobs.submit import adopted
from anytune.schema.job import Event, Job, JobState, RemoteJob
from anytune.schema.plan import Policy, Price
from anytune.testing.fake import STATES
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


def test_a_job_that_was_never_sent_does_not_hold_its_name(bench: Bench) -> None:
    bench.service.faults["upload"] = [KeyRefusedError("not this key")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    changed = jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk)
    assert [job.state for job in bench.store.list()] == [changed.state, JobState.CANCELLED]


def test_a_job_that_another_process_is_just_sending_keeps_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.service.faults["upload"] = [KeyRefusedError("not this key")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (first,) = bench.store.list()
    acting = bench.store.acting

    def sent_while_we_waited(job_id: str) -> Any:
        bench.store.put(first.model_copy(update={"creating": bench.clock.now()}))
        return acting(job_id)

    monkeypatch.setattr(bench.store, "acting", sent_while_we_waited)
    with pytest.raises(ConflictError, match=first.id):
        jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk)
    assert len(bench.store.list()) == 1


def test_a_job_that_another_process_submits_while_we_look_is_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, look = bench.plan(), bench.store.list

    def looked(**which: Any) -> Any:
        found = look(**which)
        monkeypatch.setattr(bench.store, "list", look)
        jobs.submit(plan, desk=bench.desk)
        return found

    monkeypatch.setattr(bench.store, "list", looked)
    job = jobs.submit(plan, desk=bench.desk)
    assert [known.id for known in bench.store.list()] == [job.id]
    assert len(bench.service.jobs) == 1


def test_a_budget_or_a_test_file_does_not_make_it_another_job(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.submit(bench.plan(budget={"usd": 5}), desk=bench.desk).id == first.id


@pytest.mark.parametrize(
    "error", [StoreError("the budget's record is away"), RateLimitedError("later", retry_after=7200)]
)
def test_a_create_that_surely_was_not_asked_for_is_not_looked_for(bench: Bench, error: AnytuneError) -> None:
    bench.service.faults["create"] = [error]
    with pytest.raises(type(error)):
        jobs.submit(bench.plan(), desk=bench.desk)
    (kept,) = bench.store.list()
    assert (kept.state, kept.creating, kept.creates) == (JobState.SUBMITTING, None, 0)
    assert jobs.submit(bench.plan(), desk=bench.desk).id == kept.id
    assert (bench.service.calls.count("find"), len(bench.service.jobs), bench.clock.slept) == (0, 1, [])


def test_a_job_that_was_made_and_could_not_be_written_down_is_looked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bench.store.put

    def full(job: Job, **how: Any) -> None:
        if job.remote is not None:
            raise StoreError("the disk is full")
        put(job, **how)

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "put", full)
        with pytest.raises(StoreError):
            jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.submit(bench.plan(), desk=bench.desk).remote is not None
    assert len(bench.service.jobs) == 1


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


def test_the_time_for_which_a_list_may_lag_has_an_end_wherever_the_clock_stands(bench: Bench) -> None:
    """Fractions of seconds add up to a little less than their sum, and a wait too short to move a clock is none."""
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.jobs.clear()
    for fraction in range(50):
        bench.clock.sleep(fraction / 7)
        waits = len(bench.clock.slept)
        assert adopted(job, bench.provider, bench.desk) is None
        assert len(bench.clock.slept) - waits <= 7


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


def test_a_policy_that_became_stricter_holds_for_a_submit_that_goes_on(bench: Bench) -> None:
    bench.service.faults["upload"] = [KeyRefusedError("not this key")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (kept,) = bench.store.list()
    stricter = dataclasses.replace(bench.desk, policy=Policy(residency="local"))
    with pytest.raises(RefusedError):
        jobs.resume(kept.id, desk=stricter)
    assert bench.service.files == {}


def test_half_a_character_in_an_event_is_kept_as_a_mark(bench: Bench) -> None:
    broken = Event(id="1", at=bench.clock.now(), message="loss \ud83d", data={"note": ["\udc00"], "step": 1})
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.store.add_events(job.id, [broken])
    assert bench.store.events(job.id)[0].data == {"note": ["?"], "step": 1}


def test_events_are_taken_in_once(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    told = [event.id for update in jobs.follow(job.id, desk=bench.desk) for event in update.events]
    assert len(told) == len(set(told)) == 4
    assert [event.id for event in bench.store.events(job.id)] == told


def test_there_is_no_model_before_the_end(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(NotYetError):
        jobs.model(job)


def left_open(bench: Bench) -> Job:
    """Submit until the answer to `create` is lost and nobody may look; the remote job exists."""
    bench.service.faults["lost"] = [AmbiguousError("dropped")]
    bench.service.faults["find"] = [KeyRefusedError("not now")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    return bench.store.list()[0]


def hide_at_first(bench: Bench, seconds: float) -> None:
    """Let the provider's list show a job only so long after it is first asked for."""
    find, asked = bench.provider.find, list[float]()

    def lagging(job_id: str) -> RemoteJob | None:
        asked.append(bench.clock.monotonic())
        return find(job_id) if asked[-1] - asked[0] >= seconds else None

    bench.provider.find = lagging  # type: ignore[method-assign]


def answer(bench: Bench, **changes: Any) -> None:
    """Let `retrieve` say something else."""
    retrieve = bench.provider.retrieve
    bench.provider.retrieve = lambda remote_id: retrieve(remote_id).model_copy(update=changes)  # type: ignore[method-assign]


def test_an_answer_lost_after_a_long_wait_is_looked_for_as_long(bench: Bench) -> None:
    bench.service.faults["create"] = [RateLimitedError("busy", retry_after=60)]
    bench.service.faults["lost"] = [AmbiguousError("dropped")]
    hide_at_first(bench, jobs.LIST_LAG / 2)
    jobs.submit(bench.plan(), desk=bench.desk)
    assert len(bench.service.jobs) == 1


def test_a_clock_that_was_set_back_does_not_shorten_the_look(bench: Bench) -> None:
    job = left_open(bench)
    bench.clock._start -= timedelta(hours=2)
    hide_at_first(bench, jobs.LIST_LAG / 2)
    jobs.resume(job.id, desk=bench.desk)
    assert len(bench.service.jobs) == 1


def test_a_provider_that_will_not_let_us_look_does_not_fail_the_job(bench: Bench) -> None:
    bench.service.faults["lost"] = [AmbiguousError("dropped")]
    bench.service.faults["find"] = [RejectedError("this key may not list")]
    with pytest.raises(AmbiguousError, match="may not list"):
        jobs.submit(bench.plan(), desk=bench.desk)
    assert jobs.submit(bench.plan(), desk=bench.desk).remote is not None
    assert len(bench.service.jobs) == 1


def test_a_job_that_was_to_be_cancelled_is_never_made_afterwards(bench: Bench) -> None:
    bench.service.faults["create"] = [AmbiguousError("dropped before acting")]
    bench.service.faults["find"] = [KeyRefusedError("not now"), KeyRefusedError("not now")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    job = bench.store.list()[0]
    with pytest.raises(KeyRefusedError):
        jobs.cancel(job.id, desk=bench.desk)
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.CANCELLED
    assert bench.service.jobs == {}


def test_a_second_submit_finds_the_first_past_a_later_attempt_that_failed(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["create"] = [RejectedError("no")]
    with pytest.raises(RejectedError):
        jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk, again=True)
    assert jobs.submit(bench.plan(), desk=bench.desk).id == first.id
    assert len(bench.service.jobs) == 1


def test_an_end_seen_meanwhile_is_not_overwritten_by_a_late_not_found(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.clock.sleep(jobs.YOUNG)
    retrieve = bench.provider.retrieve

    def late(remote_id: str) -> RemoteJob:
        bench.provider.retrieve = retrieve  # type: ignore[method-assign]
        bench.service.jobs[remote_id]["status"] = "done"
        jobs.refresh(job.id, desk=bench.desk)
        raise NotFoundError("gone")

    bench.provider.retrieve = late  # type: ignore[method-assign]
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.SUCCEEDED
    assert bench.store.get(job.id).state is JobState.SUCCEEDED


def test_a_look_that_was_overtaken_is_not_written_down(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    retrieve = bench.provider.retrieve

    def slow(remote_id: str) -> RemoteJob:
        seen = retrieve(remote_id)
        bench.clock.sleep(1)
        current = bench.store.get(job.id)
        newer = {"state": JobState.PAUSED, "updated_at": bench.clock.now()}
        bench.store.put(current.model_copy(update=newer))
        return seen

    bench.provider.retrieve = slow  # type: ignore[method-assign]
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.PAUSED


def test_a_watch_goes_on_while_a_young_job_is_not_shown(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    hidden = bench.service.jobs.pop("remote-1")
    looks = jobs.follow(job.id, desk=bench.desk)
    assert next(looks).job.state is JobState.QUEUED
    bench.service.jobs["remote-1"] = hidden
    assert [look.job.state for look in looks][-1] is JobState.SUCCEEDED


@pytest.mark.parametrize("fault", [UnavailableError("down"), RateLimitedError("busy", retry_after=200)])
def test_a_watch_ends_in_time_whatever_the_provider_does(bench: Bench, fault: Exception) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["retrieve"] = [fault] * 100
    with pytest.raises(NotYetError):
        list(jobs.follow(job.id, desk=bench.desk, timeout=10))
    assert bench.clock.monotonic() <= 10


def test_a_watch_waits_as_long_as_it_is_told_to(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["retrieve"] = [RateLimitedError("busy", retry_after=3600)] * 2
    assert states(bench, job.id)[-1] is JobState.SUCCEEDED
    assert bench.clock.slept[:2] == [3600, 3600]


def test_a_success_without_a_model_is_not_the_end(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    retrieve = bench.provider.retrieve
    answer(bench, state=JobState.SUCCEEDED, model=None)
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.FINALIZING
    bench.provider.retrieve = retrieve  # type: ignore[method-assign]
    assert states(bench, job.id)[-1] is JobState.SUCCEEDED


@pytest.mark.parametrize("bound", [{"budget": {"usd": 5}}, {"policy": Policy(budget_usd=Decimal(5))}])
def test_a_quote_above_any_budget_makes_no_job(bench: Bench, bound: dict[str, Any]) -> None:
    bench.provider.quote = lambda _: Decimal(100)  # type: ignore[attr-defined]
    with pytest.raises(QuotaError, match=r"quotes \$100\.00, the budget is \$5\.00"):
        jobs.submit(bench.plan(**bound), desk=bench.desk)
    assert bench.service.jobs == {}


def test_a_budget_that_was_set_before_the_job_went_out_holds(bench: Bench) -> None:
    bench.provider.quote = lambda _: Decimal(100)  # type: ignore[attr-defined]
    bench.service.faults["create"] = [KeyRefusedError("not now")]
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(QuotaError):
        jobs.submit(bench.plan(budget={"usd": 5}), desk=bench.desk)


def test_the_bill_knows_the_minimum_and_the_price_of_full_training(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    prices = {"sft": Decimal(2), "sft-full": Decimal(3)}
    price = Price(per_million=prices, minimum=Decimal(4), as_of=job.plan.made_on, source="a test")
    training = job.plan.spec.training.model_copy(update={"lora": None})
    plan = job.plan.model_copy(
        update={
            "capabilities": job.plan.capabilities.model_copy(update={"price": price}),
            "spec": job.plan.spec.model_copy(update={"training": training}),
        }
    )
    bench.store.put(job.model_copy(update={"plan": plan}))
    answer(bench, trained_tokens=1000)
    assert jobs.refresh(job.id, desk=bench.desk).cost == 4
    answer(bench, trained_tokens=2_000_000)
    assert jobs.refresh(job.id, desk=bench.desk).cost == 6


def test_a_job_that_waits_costs_one_call_a_look_and_its_events_only_when_it_moves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    monkeypatch.setitem(STATES, "in line", JobState.QUEUED)
    bench.service.polls_to_end = 1000
    remote = bench.service.jobs["remote-1"]
    remote.update(status="in line")
    looks = jobs.follow(job.id, desk=bench.desk)
    for _ in range(4):
        next(looks)
    assert bench.service.calls.count("events") == 1
    remote.update(status="working")
    next(looks)
    assert bench.service.calls.count("events") == 2
