"""One loop watches all live jobs: few calls, no storms, and every job lives through what its provider says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    NotYetError,
    RateLimitedError,
    UnavailableError,
)
from anytune.jobs import Look, Sweep
from anytune.jobs.inquiry import LOST_AGAIN, STALLED
from anytune.jobs.turns import CEILING, EVERY, RATE
from anytune.jobs.watched import LAST_WORDS
from anytune.schema.job import JobState
from anytune.testing import FakeProvider
from tests.rigs import Bench, make_bench, profile


class OneByOne:
    """Be a provider that does not list."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "retrieve_many":
            raise AttributeError(name)
        return getattr(self._inner, name)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = make_bench(tmp_path)
    bench.service.polls_to_end = 10_000
    return bench


def sweep(bench: Bench, **settings: Any) -> Sweep:
    return Sweep(bench.desk, bench.folder / "home", random=Random(7), **settings)


def start(bench: Bench, count: int = 1, *, name: str = "sums", **changes: Any) -> list[str]:
    made = [jobs.submit(bench.plan(name=f"{name}-{n}"), desk=bench.desk).id for n in range(count)]
    bench.service.calls.clear()
    return made


def alone(bench: Bench) -> Bench:
    desk = dataclasses.replace(bench.desk, provider=lambda _: OneByOne(bench.provider))  # type: ignore[arg-type]
    return dataclasses.replace(bench, desk=desk)


def run(bench: Bench, at: Sweep, seconds: float, before: Callable[[], None] = lambda: None) -> list[Look]:
    """Let the sweep go on for so long."""
    until, looks = bench.clock.monotonic() + seconds, []
    while bench.clock.monotonic() < until:
        before()
        looks.append(at.turn())
        bench.clock.sleep(min(at.wait(), until - bench.clock.monotonic()) or 0.01)
    return looks


def said(looks: list[Look]) -> list[str]:
    return [notice.text for look in looks for notice in look.notices]


def test_all_jobs_are_asked_for_in_one_call_and_followed_to_their_end(bench: Bench) -> None:
    bench.service.polls_to_end = 3
    ids = start(bench, 20)
    looks = list(sweep(bench).follow())
    assert {bench.store.get(id).state for id in ids} == {JobState.SUCCEEDED}
    assert bench.service.calls.count("list") == 3
    assert bench.service.calls.count("retrieve") == 0
    assert {job.id for look in looks for job in look.changed} == set(ids)


def test_a_provider_that_does_not_list_is_asked_for_one_job_after_the_other(bench: Bench) -> None:
    bench.service.polls_to_end = 3
    ids = start(bench, 20)
    list(sweep(alone(bench)).follow())
    assert {bench.store.get(id).state for id in ids} == {JobState.SUCCEEDED}
    assert bench.service.calls.count("list") == 0
    assert max(bench.clock.slept) < EVERY[False]


def test_nothing_is_written_where_nothing_has_changed(bench: Bench) -> None:
    start(bench, 3)
    at = sweep(bench)
    run(bench, at, 100)
    before = [job.updated_at for job in bench.store.list()]
    run(bench, at, 600)
    assert [job.updated_at for job in bench.store.list()] == before


def test_events_come_within_the_budget_and_tell_step_and_loss(bench: Bench) -> None:
    (id,) = start(bench)
    at = sweep(bench)
    run(bench, at, 300)
    (job,) = at.jobs
    assert job.step > 1
    assert job.steps == bench.service.polls_to_end
    assert job.loss is not None
    assert len(bench.store.events(id)) > 1
    assert bench.service.calls.count("events") <= 6


def test_what_an_ended_job_told_is_taken_in_however_slowly_the_provider_answers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = start(bench)
    listing = bench.provider.retrieve_many

    def slowly(*given: Any, **named: Any) -> Any:
        bench.clock.sleep(10 * EVERY[False])
        return listing(*given, **named)

    monkeypatch.setattr(bench.provider, "retrieve_many", slowly)
    bench.service.jobs["remote-1"].update(status="done", polls=3)
    list(sweep(bench).follow())
    assert bench.store.get(id).state is JobState.SUCCEEDED
    assert len(bench.store.events(id)) == 4


def test_many_jobs_that_end_in_one_turn_all_get_their_last_events_within_the_budget(bench: Bench) -> None:
    ids = start(bench, 100)
    for job in bench.service.jobs.values():
        job.update(status="done", polls=3)
    at = sweep(bench)
    (look,) = [look for look in run(bench, at, 1) if look.changed]
    assert {job.id for job in look.changed} == set(ids)
    assert bench.service.calls.count("events") <= EVERY[False] * RATE
    began = bench.clock.monotonic()
    list(at.follow())
    assert {len(bench.store.events(id)) for id in ids} == {4}
    assert {job.step for job in at.jobs} == {3}
    assert bench.service.calls.count("events") == 100
    assert bench.clock.monotonic() - began <= 3 * EVERY[False]


def test_last_events_that_cannot_be_had_do_not_keep_a_watch_going(bench: Bench) -> None:
    (id,) = start(bench)
    bench.service.jobs["remote-1"].update(status="done", polls=3)
    bench.service.faults["events"] = [UnavailableError("fake: away") for _ in range(99)]
    list(sweep(bench).follow(timeout=24 * 3600.0))
    assert bench.store.get(id).state is JobState.SUCCEEDED
    assert bench.service.calls.count("events") == LAST_WORDS


def test_what_a_job_told_last_is_taken_in_by_the_next_watch_where_nobody_did(bench: Bench) -> None:
    """Its watch is killed when it has written down the end, so that nobody asks for what came with it."""
    ids = start(bench, 2)
    for job in bench.service.jobs.values():
        job.update(status="done", polls=3)
    for id in ids:
        jobs.refresh(id, desk=bench.desk)
    assert not any(bench.store.events(id) for id in ids)
    bench.service.calls.clear()
    at = sweep(bench)
    looks = list(at.follow())
    assert {len(bench.store.events(id)) for id in ids} == {4}
    assert bench.service.calls == ["events", "events"]
    assert not at.jobs
    assert not any(look.changed for look in looks), "their end is no news of this watch"
    bench.service.calls.clear()
    list(sweep(bench).follow())
    assert bench.service.calls == []


def test_what_others_ended_is_heard_by_the_watch_that_goes_on(bench: Bench) -> None:
    one, other = start(bench, 2)
    at = sweep(bench)
    run(bench, at, 200)
    known = len(bench.store.events(one))
    bench.service.jobs["remote-1"].update(status="done", polls=20)
    jobs.refresh(one, desk=bench.desk)
    run(bench, at, 200)
    assert len(bench.store.events(one)) > known
    assert bench.store.unheard() == frozenset()
    assert bench.store.get(other).state is JobState.RUNNING


def test_last_words_that_cannot_be_had_are_asked_for_once_in_each_watch_and_hold_up_none(bench: Bench) -> None:
    (id,) = start(bench)
    bench.service.jobs["remote-1"].update(status="done", polls=3)
    jobs.refresh(id, desk=bench.desk)
    bench.service.calls.clear()
    bench.service.faults["events"] = [UnavailableError("fake: away"), KeyRefusedError("fake does not take this key")]
    began = bench.clock.monotonic()
    assert said(list(sweep(bench).follow())) == []
    bench.clock.sleep(100.0)
    assert said(list(sweep(bench).follow())) == []
    assert bench.clock.monotonic() - began <= 101
    assert bench.service.calls == ["events", "events"]
    bench.clock.sleep(100.0)
    list(sweep(bench).follow())
    assert len(bench.store.events(id)) == 4


def test_a_key_that_is_refused_for_the_last_events_ends_the_watch(bench: Bench) -> None:
    start(bench)
    bench.service.jobs["remote-1"].update(status="done", polls=3)
    bench.service.faults["events"] = [KeyRefusedError("fake does not take this key")]
    assert any("does not take this key" in text for text in said(list(sweep(bench).follow())))


def test_one_provider_is_never_asked_more_often_than_its_budget(bench: Bench) -> None:
    start(bench, 60)
    at = sweep(alone(bench))
    run(bench, at, 600)
    assert len(bench.service.calls) <= RATE * 600
    assert len(bench.service.calls) > 0.5 * RATE * 600


@pytest.mark.parametrize("lists", [True, False])
def test_after_an_outage_there_is_no_storm(bench: Bench, *, lists: bool) -> None:
    start(bench, 10)
    bench = bench if lists else alone(bench)
    calls: list[float] = []
    counted = bench.service.calls

    class Journal(list[str]):
        def append(self, act: str) -> None:
            calls.append(bench.clock.monotonic())
            super().append(act)

    bench.service.calls = Journal(counted)
    at = sweep(bench)
    run(bench, at, 900)
    usual = peak(calls)
    away = [UnavailableError("no route")] * 10_000
    bench.service.faults = {"list": list(away), "retrieve": list(away), "events": list(away)}
    calls.clear()
    run(bench, at, 4 * 3600)
    assert len(calls) <= 4 * 3600 / CEILING * 1.3 + 10
    bench.service.faults = {}
    calls.clear()
    looks = run(bench, at, 1800)
    assert any("answers again" in text for text in said(looks))
    assert peak(calls) <= 2 * usual


def peak(calls: list[float], window: float = 60.0) -> int:
    return max(sum(at <= other < at + window for other in calls) for at in calls)


def test_an_outage_is_told_once_and_harms_no_job(bench: Bench) -> None:
    (id,) = start(bench)
    at = sweep(bench)
    bench.service.faults["list"] = [AmbiguousError("fake: HTTP 503")] * 5
    told = said(run(bench, at, 3600))
    assert [text.split(";")[0] for text in told] == ["fake: HTTP 503", "fake answers again"]
    assert bench.store.get(id).state is JobState.RUNNING


def test_retry_after_is_obeyed(bench: Bench) -> None:
    start(bench)
    at = sweep(bench)
    bench.service.faults["list"] = [RateLimitedError("slow down", retry_after=1800.0)]
    run(bench, at, 1799)
    assert bench.service.calls == ["list"]
    run(bench, at, 300)
    assert bench.service.calls.count("list") > 1


def test_where_lists_fail_for_long_jobs_are_asked_for_one_by_one(bench: Bench) -> None:
    ids = start(bench, 3)
    bench.service.faults["list"] = [MalformedAnswerError("no list")] * 1000
    looks = run(bench, sweep(bench), 3 * 3600)
    assert {bench.store.get(id).state for id in ids} == {JobState.RUNNING}
    assert len(said(looks)) == 1
    assert bench.service.calls.count("list") <= 8


def test_a_refused_key_is_told_once_and_not_tried_again_until_it_is_another(bench: Bench) -> None:
    (id,) = start(bench)
    marks = {"fake": "one"}
    at = sweep(bench, mark=lambda name: marks[name])
    bench.service.key = "fake-key-of-tomorrow"
    told = said(run(bench, at, 3600))
    assert len(told) == 1
    assert bench.service.calls == ["list"]
    bench.service.key, marks["fake"] = "fake-key-1234567890", "two"
    run(bench, at, 300)
    assert bench.store.get(id).state is JobState.RUNNING


def test_a_refused_key_ends_the_watch_where_no_other_job_is_left(bench: Bench) -> None:
    start(bench)
    bench.service.key = "fake-key-of-tomorrow"
    with pytest.raises(KeyRefusedError):
        list(sweep(bench).follow())


def test_where_one_key_is_refused_other_providers_go_on(bench: Bench, tmp_path: Path) -> None:
    start(bench)
    other = FakeProvider(profile(tmp_path, name="spare"))
    other.name = "spare"
    desk = dataclasses.replace(bench.desk, provider={"fake": bench.provider, "spare": other}.__getitem__)
    spare = jobs.submit(dataclasses.replace(bench, provider=other).plan(name="there"), desk=desk)
    bench.service.key = "fake-key-of-tomorrow"
    with pytest.raises(KeyRefusedError):
        list(Sweep(desk, bench.folder / "home").follow())
    assert bench.store.get(spare.id).state is JobState.SUCCEEDED


def test_an_unheard_of_word_is_told_once_and_ends_nothing(bench: Bench) -> None:
    (id,) = start(bench)
    bench.service.jobs["remote-1"]["status"] = "meditating"
    told = said(run(bench, sweep(bench), 3600))
    assert [text for text in told if "meditating" in text] == told[:1]
    assert bench.store.get(id).state is JobState.UNKNOWN


@pytest.mark.parametrize("what", ["an odd word", "gone", "nonsense"])
def test_what_is_wrong_with_a_job_is_told_once_by_all_watchers_together_and_stands_in_the_record(
    bench: Bench, what: str
) -> None:
    (id,) = start(bench)
    run(bench, sweep(bench), 1000)
    hidden = dict(bench.service.jobs)
    if what == "an odd word":
        bench.service.jobs["remote-1"]["status"] = "meditating"
    elif what == "gone":
        bench.service.jobs.clear()
    else:
        bench = alone(bench)
        bench.provider.retrieve = _nonsense  # type: ignore[method-assign]
    told = []
    for _ in range(3):
        at = sweep(bench)
        told += said(run(bench, at, 2 * LOST_AGAIN))
        at.close()
    assert len(told) == 1
    assert [event.message for event in bench.store.events(id) if event.level == "warning"] == told
    if what == "gone":  # one that comes back and goes again is news
        bench.service.jobs.update(hidden)
        run(bench, sweep(bench), LOST_AGAIN + 60)
        assert bench.store.get(id).state is JobState.RUNNING
        bench.service.jobs.clear()
        assert len(said(run(bench, sweep(bench), LOST_AGAIN))) == 1


def _nonsense(remote_id: str) -> Any:
    raise MalformedAnswerError(f"fake: the answer about {remote_id} has no id")


def test_a_young_job_that_the_provider_does_not_know_is_waited_for(bench: Bench) -> None:
    (id,) = start(bench)
    hidden = bench.service.jobs.pop("remote-1")
    at = sweep(bench)
    assert said(run(bench, at, 500)) == []
    assert bench.store.get(id).state is JobState.QUEUED
    bench.service.jobs["remote-1"] = hidden
    run(bench, at, 100)
    assert bench.store.get(id).state is JobState.RUNNING


def test_an_old_job_that_is_gone_is_told_once_kept_and_asked_for_now_and_then(bench: Bench) -> None:
    gone, there = start(bench, 2)
    at = sweep(bench)
    run(bench, at, 1000)
    hidden = bench.service.jobs.pop("remote-1")
    bench.service.calls.clear()
    told = said(run(bench, at, 4 * LOST_AGAIN))
    assert len([text for text in told if "knows it no more" in text]) == 1
    assert bench.store.get(gone).state is JobState.UNKNOWN
    assert bench.store.get(there).state is JobState.RUNNING
    assert bench.service.calls.count("retrieve") <= 5
    bench.service.jobs["remote-1"] = hidden
    run(bench, at, LOST_AGAIN + 60)
    assert bench.store.get(gone).state is JobState.RUNNING


def test_nonsense_about_one_job_harms_no_other(bench: Bench) -> None:
    ids = start(bench, 3)
    answers = bench.provider.retrieve

    def nonsense(remote_id: str) -> Any:
        if remote_id == "remote-2":
            raise MalformedAnswerError("fake: the answer has no id")
        return answers(remote_id)

    bench.provider.retrieve = nonsense  # type: ignore[method-assign]
    told = said(run(bench, sweep(alone(bench)), 3600))
    assert len([text for text in told if ids[1] in text]) == 1
    assert [bench.store.get(id).state for id in ids] == [JobState.RUNNING, JobState.QUEUED, JobState.RUNNING]


def test_an_answer_about_another_job_is_not_written_down(bench: Bench) -> None:
    ids = start(bench, 2)
    bench.provider.retrieve_many = lambda _, **__: {  # type: ignore[method-assign]
        "remote-1": bench.provider.retrieve("remote-2"), "remote-2": bench.provider.retrieve("remote-2")
    }  # fmt: skip
    told = said(run(bench, sweep(bench), 120))
    assert any("answered about remote-2" in text for text in told)
    assert bench.store.get(ids[0]).state is JobState.QUEUED


def test_a_stall_is_told_by_lack_of_news_and_not_by_state(bench: Bench) -> None:
    start(bench, 2)
    at = sweep(bench)
    run(bench, at, 600)
    bench.service.jobs["remote-1"]["status"] = bench.service.jobs["remote-2"]["status"] = "working"
    lists = bench.provider.retrieve_many

    def only_the_second_moves(ids: Any, **rest: Any) -> Any:
        standing = dict(bench.service.jobs["remote-1"])
        found = lists(ids, **rest)
        bench.service.jobs["remote-1"].update(polls=standing["polls"])
        return found

    bench.provider.retrieve_many = only_the_second_moves  # type: ignore[method-assign]
    told = said(run(bench, at, STALLED[False] * 2.5))
    assert len(told) == 1
    assert "sums-0" in told[0]
    assert "no news" in told[0]
    bench.provider.retrieve_many = lists  # type: ignore[method-assign]
    run(bench, at, 120)
    assert not any(job.stalled for job in at.jobs)


def test_two_watchers_ask_as_often_as_one(bench: Bench) -> None:
    ids = start(bench, 20)
    run(bench, one := sweep(bench), 600)
    alone_ = len(bench.service.calls)
    one.close()
    bench.service.calls.clear()
    first, second = sweep(bench), sweep(bench)
    until = bench.clock.monotonic() + 600
    while bench.clock.monotonic() < until:
        first.turn(), second.turn()
        bench.clock.sleep(min(first.wait(), second.wait()))
    assert len(bench.service.calls) <= 1.2 * alone_
    assert {job.id: job.state for job in first.jobs} == {job.id: job.state for job in second.jobs}
    assert len({event.id for event in bench.store.events(ids[0])}) == len(bench.store.events(ids[0]))


def test_another_watcher_goes_on_where_the_first_ends(bench: Bench) -> None:
    (id,) = start(bench)
    first, second = sweep(bench), sweep(bench)
    run(bench, first, 100)
    run(bench, second, 100)
    assert bench.store.get(id).state is JobState.RUNNING
    bench.service.jobs["remote-1"]["status"] = "done"
    first.close()
    bench.service.calls.clear()
    run(bench, second, 100)
    assert bench.store.get(id).state is JobState.SUCCEEDED
    assert bench.service.calls.count("list") == 1


def test_a_watcher_that_is_started_again_and_again_does_not_ask_each_time(bench: Bench) -> None:
    start(bench, 5)
    for _ in range(20):
        at = sweep(bench)
        at.turn()
        at.close()
        bench.clock.sleep(1.0)
    assert bench.service.calls.count("list") == 1


def test_one_that_was_stopped_does_not_stop_the_others(bench: Bench) -> None:
    (id,) = start(bench)
    first, second = sweep(bench), sweep(bench)
    first.turn()
    bench.service.jobs["remote-1"]["status"] = "done"
    run(bench, second, 3600)  # the first holds the lease and sleeps
    assert bench.store.get(id).state is JobState.SUCCEEDED


def test_jobs_that_others_begin_or_cancel_are_seen(bench: Bench) -> None:
    start(bench)
    at = sweep(bench)
    run(bench, at, 60)
    (later,) = start(bench, name="later")
    looks = run(bench, at, 60)
    assert later in {job.id for look in looks for job in look.changed}
    jobs.cancel(later, desk=bench.desk)
    looks = run(bench, at, 60)
    assert JobState.CANCELLED in {job.state for look in looks for job in look.changed if job.id == later}


def test_a_submit_that_was_begun_is_carried_on(bench: Bench) -> None:
    bench.service.faults["upload"] = [UnavailableError("no route")] * 6
    with pytest.raises(UnavailableError):
        jobs.submit(bench.plan(), desk=bench.desk)
    (job,) = bench.store.list()
    assert job.state is JobState.SUBMITTING
    bench.service.polls_to_end = 3
    list(sweep(bench).follow())
    assert bench.store.get(job.id).state is JobState.SUCCEEDED
    assert bench.service.calls.count("create") == 1


def test_a_submit_that_cannot_go_on_is_told_once(bench: Bench) -> None:
    bench.service.key = "fake-key-of-tomorrow"
    with pytest.raises(KeyRefusedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    told = said(run(bench, sweep(bench), 3600))
    assert len(told) == 1
    assert "could not be submitted" in told[0]


def test_the_time_in_each_state_is_kept(bench: Bench) -> None:
    (id,) = start(bench)
    bench.clock.sleep(120)
    at = sweep(bench)
    run(bench, at, 600)
    bench.service.jobs["remote-1"]["status"] = "done"
    run(bench, at, 60)
    spent = bench.store.get(id).spent(bench.clock.now() + timedelta(days=1))
    assert spent[JobState.QUEUED] == 120
    assert 600 <= spent[JobState.RUNNING] <= 630
    assert JobState.SUCCEEDED not in spent


def test_a_watch_with_a_limit_says_that_it_is_not_over(bench: Bench) -> None:
    start(bench)
    with pytest.raises(NotYetError, match="1 jobs have not ended"):
        list(sweep(bench).follow(timeout=100))


def test_what_rests_ends_the_watch_and_what_is_not_wanted_does_not_prolong_it(bench: Bench) -> None:
    ids = start(bench, 2)
    at = sweep(bench, only={ids[0]})
    at.turn()
    bench.service.jobs["remote-1"]["status"] = "done"
    list(at.follow())
    assert [job.id for job in at.jobs] == [ids[0]]
    assert bench.store.get(ids[1]).state is JobState.RUNNING


def test_a_look_that_fails_for_one_job_leaves_no_half_record(bench: Bench) -> None:
    (id,) = start(bench)
    bench.service.faults["list"] = [NotFoundError("fake: no such page", status=404)]
    run(bench, sweep(bench), 60)
    assert bench.store.get(id).state in {JobState.QUEUED, JobState.RUNNING}
