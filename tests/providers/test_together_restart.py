"""A job that Together starts again under a new id is one job of ours: followed, stopped, told of, paid once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from anytune import jobs, planner
from anytune.errors import ProviderError
from anytune.jobs import Desk
from anytune.jobs.desk import record
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import Policy
from anytune.store import SqliteStore
from anytune.testing import FakeClock
from tests.providers._together import CREATE, LIST, TogetherRig, running
from tests.rigs import report_of
from tests.stubs.together import TogetherStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


@pytest.fixture
def desk(tmp_path: Path, rig: TogetherRig) -> Desk:
    return Desk(store=SqliteStore(tmp_path / "home"), provider=lambda _: rig.provider, clock=FakeClock())


def submitted(rig: TogetherRig, desk: Desk) -> tuple[Job, str]:
    capabilities = rig.provider.capabilities(rig.spec().model)
    today = FakeClock().now().date()
    plan = planner.make(rig.spec(), report_of(rig.file()), capabilities, policy=Policy(), today=today)
    job = jobs.submit(plan, desk=desk)
    assert job.remote is not None
    return job, job.remote.id


def remote_id(job: Job) -> str:
    assert job.remote is not None
    return job.remote.id


def test_the_whole_life_of_a_job_that_is_started_again(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    looks = jobs.follow(job.id, desk=desk)
    assert next(looks).job.state is JobState.QUEUED
    new = rig.stub.restart(old)
    after = next(looks)
    assert (after.job.state, remote_id(after.job)) == (JobState.QUEUED, new)
    kinds = [event.data.get("type") for event in after.events]
    assert {"job_error", "job_restarted", "refund", "job_pending"} <= set(kinds)
    *_, last = looks
    assert (last.job.state, remote_id(last.job), last.job.error) == (JobState.SUCCEEDED, new, None)
    assert last.job.cost == Decimal(4)
    assert jobs.model(last.job).remote_id == new
    assert rig.calls(CREATE) == 1
    told = [event.data["type"] for event in desk.store.events(job.id)]
    assert (told.count("job_pending"), told.count("job_complete"), told.count("job_restarted")) == (2, 1, 1)
    exported = jobs.export(last.job, to="adapter", out=rig.folder / "model", desk=desk)
    assert exported["kind"] == "adapter"


def test_the_new_id_is_written_down_by_the_first_command_that_sees_it(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old)
    assert remote_id(jobs.refresh(job.id, desk=desk)) == new
    before = len(rig.stub.calls(f"*{old}*"))
    jobs.refresh(job.id, desk=desk)
    jobs.fetch_events(desk.store.get(job.id), desk=desk)
    assert len(rig.stub.calls(f"*{old}*")) == before
    assert "job_restarted" in [event.data["type"] for event in desk.store.events(job.id)]


def test_stopping_a_job_stops_what_it_has_become(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old)
    stopped = jobs.cancel(job.id, desk=desk)
    assert (stopped.state, remote_id(stopped)) == (JobState.CANCELLING, new)
    assert rig.stub.jobs[new]["status"] == "cancel_requested"
    assert jobs.refresh(job.id, desk=desk).state is JobState.CANCELLED


def test_a_cancel_that_is_answered_with_the_old_jobs_error_stops_what_it_has_become(
    rig: TogetherRig, desk: Desk
) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old)
    rig.stub.cancels_ended = True
    stopped = jobs.cancel(job.id, desk=desk)
    assert (stopped.state, remote_id(stopped)) == (JobState.CANCELLING, new)
    assert rig.stub.jobs[new]["status"] == "cancel_requested"


def test_a_cancel_names_every_id_that_the_job_had_before(rig: TogetherRig, desk: Desk) -> None:
    _, old = submitted(rig, desk)
    second = rig.stub.restart(old)
    third = rig.stub.restart(second)
    stopped = rig.provider.cancel(old)
    assert (stopped.id, stopped.replaces) == (third, (old, second))


def test_a_cancel_of_a_job_that_failed_tells_why_it_did(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    rig.stub.set(old, status="error")
    rig.stub.tell(old, "job_error", "out of memory", level="error")
    rig.stub.cancels_ended = True
    stopped = jobs.cancel(job.id, desk=desk)
    assert (stopped.state, stopped.error) == (JobState.FAILED, "out of memory")


def test_a_job_started_again_twice_is_followed_to_its_last_id(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    second = rig.stub.restart(old)
    third = rig.stub.restart(second, says="restarted: see {new}")
    seen = jobs.refresh(job.id, desk=desk)
    assert remote_id(seen) == third
    assert seen.remote is not None
    assert seen.remote.replaces == (old, second)


def test_where_the_event_names_no_id_the_suffix_finds_the_job(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old, says="Internal error, restarted")
    assert remote_id(jobs.refresh(job.id, desk=desk)) == new
    assert rig.calls(LIST) == 1


def test_a_restart_that_cannot_be_found_ends_nothing(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old, says="Internal error, restarted", keeps_suffix=False)
    seen = jobs.refresh(job.id, desk=desk)
    assert (seen.state, remote_id(seen)) == (JobState.UNKNOWN, old)
    assert "cannot be found yet (Internal error, restarted)" in str(seen.error)
    rig.stub.tell(old, "job_restarted", f"new job: {new}")
    assert remote_id(jobs.refresh(job.id, desk=desk)) == new


def test_a_restart_told_before_it_can_be_seen_ends_nothing(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old)
    rig.stub.fail_next(f"GET /v1/fine-tunes/{new}", status=404)
    assert jobs.refresh(job.id, desk=desk).state is JobState.UNKNOWN
    assert remote_id(jobs.refresh(job.id, desk=desk)) == new


def test_a_restarted_job_that_fails_has_failed_although_it_tells_where_it_came_from(
    rig: TogetherRig, desk: Desk
) -> None:
    job, old = submitted(rig, desk)
    new = rig.stub.restart(old)
    rig.stub.tell(new, "job_restarted", f"restarted from {old}")
    assert remote_id(jobs.refresh(job.id, desk=desk)) == new
    rig.stub.set(new, status="error")
    rig.stub.tell(new, "job_error", "no more tries", level="error")
    ended = jobs.refresh(job.id, desk=desk)
    assert (ended.state, remote_id(ended), ended.error) == (JobState.FAILED, new, "no more tries")


def test_a_job_that_failed_and_was_not_started_again_has_failed(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    rig.stub.set(old, status="error")
    assert jobs.refresh(job.id, desk=desk).state is JobState.FAILED
    assert rig.calls(LIST) == 0


def test_an_answer_about_another_job_is_still_none(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    other = rig.start("another-job-0123456789")
    with pytest.raises(ProviderError, match="answered about"):
        record(job, rig.provider.retrieve(other), desk)
    assert remote_id(desk.store.get(job.id)) == old


def test_a_last_look_at_the_old_events_that_fails_is_made_up_for(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    rig.stub.restart(old)
    rig.stub.fail_next(f"GET /v1/fine-tunes/{old}/events", status=403)
    with pytest.raises(ProviderError):
        jobs.refresh(job.id, desk=desk)
    jobs.refresh(job.id, desk=desk)
    assert "job_restarted" in [event.data["type"] for event in desk.store.events(job.id)]


def test_an_older_answer_does_not_bring_the_old_id_back(rig: TogetherRig, desk: Desk) -> None:
    job, old = submitted(rig, desk)
    rig.stub.set(old, status="error")
    stale = rig.provider.retrieve(old)
    rig.stub.set(old, status="running")
    new = rig.stub.restart(old)

    class Slow:
        """Answer with what was asked before another process saw the restart."""

        def retrieve(self, remote_id: str) -> RemoteJob:
            jobs.refresh(job.id, desk=desk)
            return stale

    seen = jobs.refresh(job.id, desk=dataclasses.replace(desk, provider=lambda _: cast(Any, Slow())))
    assert (seen.state, remote_id(seen)) == (JobState.QUEUED, new)
