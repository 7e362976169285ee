"""Providers are asked side by side: one that answers slowly, or not at all, holds up its own jobs alone."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from anytune import jobs
from anytune.errors import UnavailableError
from anytune.jobs import Beside, Desk, Look, Sweep
from anytune.jobs.submit import intend
from anytune.schema.data import DataFile
from anytune.schema.job import JobState, RemoteJob
from anytune.store import SqliteStore
from anytune.testing import FakeProvider
from anytune.testing.fake import FakeService
from tests.rigs import make_plan, profile
from tests.soak.work import QuickClock

HASTE = 200  # the thirty seconds from turn to turn pass in 150 ms


class Slow(FakeProvider):
    """Answer no list until it is let."""

    name = "slow"

    def __init__(self, folder: Path) -> None:
        super().__init__(profile(folder, name="slow"), FakeService())
        self.asked, self.let = threading.Event(), threading.Event()
        self.asked_by: set[str] = set()
        self.slow_to_take = False
        self.fault: Exception | None = None

    def upload(self, file: DataFile) -> str:
        if not self.let.is_set() and self.slow_to_take:
            self.asked.set()
            assert self.let.wait(20)
        return super().upload(file)

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        self.asked_by.add(threading.current_thread().name)
        self.asked.set()
        assert self.let.wait(20)
        if self.fault is not None:
            raise self.fault
        return super().retrieve_many(ids, since=since)


@dataclasses.dataclass
class Two:
    """Be two providers, one slow, with jobs at both."""

    folder: Path
    slow: Slow
    quick: FakeProvider
    desk: Desk
    clock: QuickClock

    def start(self, provider: FakeProvider, name: str) -> str:
        return jobs.submit(make_plan(self.folder, provider, name=name), desk=self.desk).id

    def intend(self, provider: FakeProvider, name: str) -> str:
        return intend(make_plan(self.folder, provider, name=name), desk=self.desk).id

    def sweep(self) -> Sweep:
        def another() -> Desk:
            return dataclasses.replace(self.desk, store=SqliteStore(self.folder / "home"))

        return Sweep(self.desk, self.folder / "home", lane=lambda name: Beside(another, name=name))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    slow, quick = Slow(tmp_path), FakeProvider(profile(tmp_path), FakeService())
    clock = QuickClock(haste=HASTE)
    by_name: dict[str, FakeProvider] = {"slow": slow, "fake": quick}
    desk = Desk(store=SqliteStore(tmp_path / "home"), provider=by_name.__getitem__, clock=clock)
    yield Two(tmp_path, slow, quick, desk, clock)
    slow.let.set()


def seen(looks: Iterator[Look], id: str, state: JobState) -> None:
    """Look on until a job is seen in a state."""
    for look in looks:
        if any(job.id == id and job.state is state for job in look.changed):
            return
    raise AssertionError(f"{id} was never {state}")


def test_a_provider_that_does_not_answer_holds_up_no_other(two: Two) -> None:
    held, free = two.start(two.slow, "held"), two.start(two.quick, "free")
    looks = two.sweep().follow()
    seen(looks, free, JobState.SUCCEEDED)
    assert two.slow.asked.is_set()
    assert two.slow.service.calls.count("list") == 0  # it has not answered yet
    assert two.desk.store.get(held).state is JobState.QUEUED
    two.slow.let.set()
    seen(looks, held, JobState.SUCCEEDED)
    assert list(looks)[-1:] == []
    assert two.slow.asked_by == {"slow"}


def test_a_submit_that_is_not_taken_holds_up_none_to_another_provider(two: Two) -> None:
    two.slow.slow_to_take = True
    held, free = two.intend(two.slow, "held"), two.intend(two.quick, "free")
    looks = two.sweep().follow()
    seen(looks, free, JobState.SUCCEEDED)
    assert two.slow.asked.is_set()
    assert two.desk.store.get(held).state is JobState.SUBMITTING
    two.slow.let.set()
    seen(looks, held, JobState.SUCCEEDED)


def test_the_watch_does_not_end_before_it_has_told_of_the_last_end(two: Two) -> None:
    held = two.start(two.slow, "held")
    two.slow.service.jobs["remote-1"]["status"] = "done"
    looks = two.sweep().follow()
    next(looks)
    assert two.slow.asked.wait(20)
    two.slow.let.set()
    told = [job.id for look in looks for job in look.changed if job.state is JobState.SUCCEEDED]
    assert told == [held]


def test_an_error_in_a_lane_is_told_and_the_jobs_go_on(two: Two) -> None:
    held = two.start(two.slow, "held")
    two.slow.fault = UnavailableError("no route to host")
    two.slow.let.set()
    looks = two.sweep().follow()
    notices = (notice.text for look in looks for notice in look.notices)
    assert "no route to host" in next(notices)
    two.slow.fault = None
    assert "answers again" in next(notices)
    seen(looks, held, JobState.SUCCEEDED)


def test_a_defect_in_a_lane_is_not_swallowed(two: Two) -> None:
    two.start(two.slow, "held")
    two.slow.fault = ZeroDivisionError("a defect")
    two.slow.let.set()
    with pytest.raises(ZeroDivisionError):
        list(two.sweep().follow())


def test_what_another_process_did_meanwhile_is_seen_after_the_answer(two: Two) -> None:
    held = two.start(two.slow, "held")
    at = two.sweep()
    at.turn()
    assert two.slow.asked.wait(20)
    jobs.cancel(held, desk=two.desk)
    two.slow.let.set()
    looks = list(at.follow())
    assert two.desk.store.get(held).state is JobState.CANCELLED
    assert [job.state for job in looks[-1].changed] == [JobState.CANCELLED] or at.jobs[0].state is JobState.CANCELLED


def test_lanes_end_with_the_watch(two: Two) -> None:
    two.start(two.slow, "held")
    two.slow.let.set()
    list(two.sweep().follow())
    for thread in [thread for thread in threading.enumerate() if thread.name.endswith("slow")]:
        thread.join(5)
        assert not thread.is_alive()
