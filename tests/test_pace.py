"""What it costs to follow a job, counted in calls against a clock that does not wait."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anytune import jobs, planner
from anytune.errors import UnavailableError
from anytune.jobs.pace import Pace, seconds_left
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.plan import Policy
from anytune.store import SqliteStore
from anytune.testing import FakeClock
from anytune.testing.fake import STATES
from tests.providers._fireworks import FireworksRig
from tests.providers._replicate import ReplicateRig
from tests.providers._roots import one_root
from tests.providers._together import TogetherRig
from tests.providers.test_openai_contract import OpenAIRig
from tests.rigs import Bench, make_bench, report_of
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.replicate import ReplicateStub
from tests.stubs.together import TogetherStub

HOUR = 3600.0
START = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def event(number: int, *, seconds: float = 0, **data: Any) -> Event:
    return Event(id=str(number), at=START + timedelta(seconds=seconds), message=f"event {number}", data=data)


def lasting(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, seconds: float, state: JobState) -> list[jobs.Update]:
    """Follow a job that stays in one state, of which nothing else changes, until it succeeds."""
    monkeypatch.setitem(STATES, "lasting", state)
    job = jobs.submit(bench.plan(), desk=bench.desk)
    remote, retrieve = bench.service.jobs["remote-1"], bench.provider.retrieve

    def ending(remote_id: str) -> RemoteJob:
        remote["status"] = "done" if bench.clock.monotonic() >= seconds else "lasting"
        return retrieve(remote_id)

    monkeypatch.setattr(bench.provider, "retrieve", ending)
    bench.service.calls.clear()
    return list(jobs.follow(job.id, desk=bench.desk))


@pytest.mark.long
def test_a_job_of_six_hours_of_which_nothing_changes_costs_one_call_a_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = lasting(bench, monkeypatch, seconds=6 * HOUR, state=JobState.RUNNING)
    calls = Counter(bench.service.calls)
    told = sum(bool(look.events) for look in looks)
    assert calls["retrieve"] + calls["events"] <= len(looks) + told + 3 <= 720
    assert calls["retrieve"] >= 50
    assert calls["events"] >= 50
    # Its end is seen within a wait, or two: this provider has no event that tells of it.
    assert bench.clock.monotonic() < 6 * HOUR + 90


@pytest.mark.long
def test_a_job_that_waits_for_six_hours_costs_one_call_a_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lasting(bench, monkeypatch, seconds=6 * HOUR, state=JobState.QUEUED)
    calls = Counter(bench.service.calls)
    assert calls["retrieve"] <= 720
    assert calls["events"] == 2  # when it was first seen, and at its end


def test_what_a_running_job_tells_arrives_within_a_minute_and_a_half(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [0.0]
    events = bench.provider.events

    def noted(remote_id: str) -> list[Event]:
        asked.append(bench.clock.monotonic())
        return events(remote_id)

    monkeypatch.setattr(bench.provider, "events", noted)
    lasting(bench, monkeypatch, seconds=2 * HOUR, state=JobState.RUNNING)
    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert max(waits) <= 90
    assert max(waits[:7]) <= 20  # at first, while somebody is looking on


def test_a_short_job_is_watched_closely(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = lasting(bench, monkeypatch, seconds=90, state=JobState.RUNNING)
    assert len(looks) >= 15
    assert bench.clock.monotonic() < 104


def test_events_that_came_with_the_job_are_not_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    retrieve, events = bench.provider.retrieve, bench.provider.events

    def telling(remote_id: str) -> RemoteJob:
        seen = retrieve(remote_id)
        bench.service.calls.append("told")
        return seen.model_copy(update={"told": tuple(events(remote_id))})

    monkeypatch.setattr(bench.provider, "retrieve", telling)
    monkeypatch.setattr(bench.provider, "events", lambda _: pytest.fail("they were there"))
    told = [one.id for update in jobs.follow(job.id, desk=bench.desk) for one in update.events]
    assert len(told) == len(set(told)) == 4
    kept = bench.store.get(job.id).remote
    assert kept is not None
    assert (kept.told, kept.mark) == (None, "")


def test_a_change_that_only_the_mark_shows_has_the_events_asked_for() -> None:
    pace, running = Pace(0.0, local=False), job_of(mark="1")
    assert pace.asks(running)
    pace.took(running, (), 0.0)
    assert not pace.asks(running)
    assert pace.asks(job_of(mark="2"))
    queued = job_of(state=JobState.QUEUED, mark="3")
    pace.took(queued, (), 5.0)
    assert not pace.asks(job_of(state=JobState.QUEUED, mark="4"))  # nothing is told in a queue
    assert not pace.listens(job_of(state=JobState.QUEUED, mark="3"), 1000.0)


def test_every_third_look_or_second_one_after_a_while_is_for_the_events_alone() -> None:
    pace, running = Pace(0.0, local=False), job_of()
    assert not pace.listens(running, 0.0)  # it was never seen
    pace.took(running, (), 0.0)
    assert not pace.listens(running, 5.0)
    assert not pace.listens(running, 41.0)  # nor are two in a row for the events
    pace.took(running, None, 5.0)
    assert pace.listens(running, 41.0)
    pace.took(running, None, 5.0)
    assert pace.listens(running, 6.0)
    assert not pace.listens(job_of(mark="2"), 6.0)  # what changed is asked for as it is
    assert not Pace(0.0, local=True).listens(running, 1000.0)


def test_events_that_were_heard_are_told_though_the_job_itself_cannot_be_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record has them by then, so no later look brings them."""
    monkeypatch.setitem(STATES, "lasting", JobState.RUNNING)
    job = jobs.submit(bench.plan(), desk=bench.desk)
    remote, retrieve = bench.service.jobs["remote-1"], bench.provider.retrieve
    remote["status"], away = "lasting", []

    def heard(remote_id: str) -> list[Event]:
        if (late := bench.clock.monotonic() > 60) and not away:
            away.append(bench.clock.monotonic())
        return [event(number, seconds=number) for number in range(2 + late)]

    def gone(remote_id: str) -> RemoteJob:
        if away and bench.clock.monotonic() < away[0] + 900:
            raise UnavailableError("away")
        remote["status"] = "done" if away else "lasting"
        return retrieve(remote_id)

    monkeypatch.setattr(bench.provider, "events", heard)
    monkeypatch.setattr(bench.provider, "retrieve", gone)
    looks = list(jobs.follow(job.id, desk=bench.desk))
    assert [one.id for look in looks for one in look.events] == ["0", "1", "2"]
    assert any(look.job.error == "away" and look.events for look in looks)


def test_of_events_only_the_news_are_asked_for_until_the_end_where_all_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came late, and stands far back, is there by then."""
    told = [event(number, seconds=number) for number in range(5)]
    asked: list[set[str]] = []

    def later(_: str, known: frozenset[str]) -> list[Event]:
        asked.append(set(known))
        return told[2:]

    monkeypatch.setattr(bench.provider, "later_events", later, raising=False)
    monkeypatch.setattr(bench.provider, "events", lambda _: told)
    monkeypatch.setitem(STATES, "lasting", JobState.RUNNING)
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.jobs["remote-1"]["status"] = "lasting"
    running = jobs.refresh(job.id, desk=bench.desk)
    for _ in range(2):
        jobs.fetch_events(running, desk=bench.desk)
    assert asked == [set(), {"2", "3", "4"}]
    bench.service.jobs["remote-1"].update(status="done", polls=3)
    ended = jobs.refresh(job.id, desk=bench.desk)
    assert [one.id for one in jobs.fetch_events(ended, desk=bench.desk)] == ["0", "1"]
    assert len(asked) == 2


HOSTED = {
    "openai": (OpenAIStub, OpenAIRig, "running", 2),
    "together": (TogetherStub, TogetherRig, "running", 2),
    "fireworks": (FireworksStub, FireworksRig, "JOB_STATE_RUNNING", 0),  # here events come with the job, and below
    "replicate": (ReplicateStub, ReplicateRig, "processing", 0),
}


@pytest.mark.parametrize("name", HOSTED)
def test_a_look_at_a_hosted_job_is_one_call_and_a_second_one_only_where_something_is_new(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_root(tmp_path, monkeypatch)
    stand, rigged, word, most = HOSTED[name]
    with stand() as stub:
        rig, clock = rigged(tmp_path, stub), FakeClock()
        stub.life = (word,) * 40
        desk = jobs.Desk(store=SqliteStore(tmp_path / "home"), provider=lambda _: rig.provider, clock=clock)
        plan = planner.make(
            rig.spec(),
            report_of(rig.file()),
            rig.provider.capabilities(rig.spec().model),
            policy=Policy(),
            today=clock.now().date(),
        )
        looks = jobs.follow(jobs.submit(plan, desk=desk).id, desk=desk)
        for _ in range(3):  # the first ones take in what came before
            next(looks)
        began = len(stub.journal)
        told = sum(bool(next(looks).events) for _ in range(18))
        assert 18 <= len(stub.journal) - began <= 18 + min(told, most)


def test_losses_that_no_event_announces_arrive_in_place_of_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_root(tmp_path, monkeypatch)
    with TogetherStub() as stub:
        rig, clock = TogetherRig(tmp_path, stub), FakeClock()
        stub.life = ("running",) * 40
        desk = jobs.Desk(store=SqliteStore(tmp_path / "home"), provider=lambda _: rig.provider, clock=clock)
        capabilities = rig.provider.capabilities(rig.spec().model)
        today = clock.now().date()
        plan = planner.make(rig.spec(), report_of(rig.file()), capabilities, policy=Policy(), today=today)
        looks = jobs.follow(jobs.submit(plan, desk=desk).id, desk=desk)
        first = [event.data.get("loss") for event in next(looks).events]
        stub.more_figures = [{"train/global_step": 7, "train/loss": 0.25}]
        told = [event.data.get("loss") for _ in range(4) for event in next(looks).events]
    assert 0.25 not in first
    assert 0.25 in told


def job_of(*, state: JobState = JobState.RUNNING, **remote: Any) -> Any:
    return SimpleNamespace(state=state, remote=RemoteJob(id="r", status="a word", state=state, **remote))


def test_near_its_end_a_job_is_looked_at_more_often() -> None:
    pace, seen = Pace(0.0, local=False), job_of()
    pace.took(seen, (), 0.0)
    pace.took(seen, [event(1, eta_seconds=HOUR)], 2 * HOUR)
    assert pace.pause() >= 28
    for left, most in ((100, 30), (8, 6)):
        pace.took(seen, None, 3 * HOUR - left)
        assert pace.pause() <= most
    pace.took(seen, None, 4 * HOUR)  # what was said to be the end has long passed
    assert pace.pause() >= 28


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ([], None),
        ([event(1, step=1, total_steps=10)], None),
        ([event(1, step=2, total_steps=10), event(2, step=4, total_steps=10, seconds=30)], 90),
        ([event(1, step=2, total_steps=10), event(2, step=4, seconds=30)], None),
        ([event(1, eta=40), event(2, message="saved")], 40),
        ([event(1, eta="soon", step=True)], None),
    ],
)
def test_what_is_left_is_told_by_the_newest_figures(told: list[Event], left: float | None) -> None:
    assert seconds_left(told) == left
