"""The user's word on jobs: taken where it cannot be known otherwise, and held against what the provider shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    ConflictError,
    KeyRefusedError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from anytune.schema.job import Job, JobState
from tests.rigs import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@pytest.fixture
def elsewhere(bench: Bench) -> str:
    """Make a job at the provider that no record here knows of."""
    request = bench.provider.render(bench.plan().spec, job_id="theirs", training_file="file-1", validation_file=None)
    return bench.provider.create(request).id


def left_open(bench: Bench) -> Job:
    """Submit so that the answer is lost and the provider will not let us look."""
    bench.service.faults |= {
        "lost": [AmbiguousError("dropped")],
        "find": [RejectedError("fake: lists are not for you")],
    }
    with pytest.raises(AmbiguousError) as caught:
        jobs.submit(bench.plan(), desk=bench.desk)
    (job,) = bench.store.list()
    assert (
        caught.value.fix
        == f"look there, then anytune adopt {job.id} ITS-ID, or anytune abandon {job.id} if it has none"
    )
    return job


def test_a_job_made_elsewhere_is_followed_as_one_of_ours(bench: Bench, elsewhere: str) -> None:
    job = jobs.adopt("fake", elsewhere, desk=bench.desk)
    assert (job.plan.spec.model, job.remote and job.remote.id) == ("fake-1", elsewhere)
    *_, last = jobs.follow(job.id, desk=bench.desk)
    assert last.job.state is JobState.SUCCEEDED
    assert jobs.model(last.job).base == "fake-1"
    assert bench.service.calls.count("create") == 1


def test_a_job_is_taken_in_once(bench: Bench, elsewhere: str) -> None:
    first = jobs.adopt("fake", elsewhere, desk=bench.desk)
    assert jobs.adopt("fake", elsewhere, desk=bench.desk).id == first.id
    own = jobs.submit(bench.plan(), desk=bench.desk)
    assert own.remote is not None
    assert jobs.adopt("fake", own.remote.id, desk=bench.desk).id == own.id
    assert len(bench.store.list()) == 2


def test_a_job_that_was_taken_in_by_half_is_still_followed(
    bench: Bench, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died after the first line of the record."""
    with monkeypatch.context() as dying:
        dying.setattr(bench.store, "put", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            jobs.adopt("fake", elsewhere, desk=bench.desk)
    (half,) = bench.store.list()
    *_, last = jobs.follow(half.id, desk=bench.desk)
    assert last.job.state is JobState.SUCCEEDED
    assert jobs.adopt("fake", elsewhere, desk=bench.desk).id == half.id
    assert bench.service.calls.count("create") == 1


def test_a_job_made_elsewhere_is_no_other_job_of_the_same_name(bench: Bench, elsewhere: str) -> None:
    own = jobs.submit(bench.plan(name=elsewhere), desk=bench.desk)
    taken = jobs.adopt("fake", elsewhere, desk=bench.desk)
    assert taken.id != own.id
    assert taken.remote is not None
    assert taken.remote.id == elsewhere
    assert bench.store.get(own.id) == own


def test_a_job_made_elsewhere_that_is_ours_and_open_is_that_one(bench: Bench) -> None:
    job = left_open(bench)
    assert jobs.adopt("fake", "remote-1", desk=bench.desk).id == job.id
    assert [known.id for known in bench.store.list()] == [job.id]


def test_what_the_provider_does_not_know_is_not_taken_in(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        jobs.adopt("fake", "remote-99", desk=bench.desk)
    assert list(bench.store.list()) == []


def test_a_job_left_open_is_tied_to_the_one_that_the_user_names(bench: Bench) -> None:
    job = left_open(bench)
    assert jobs.settle(job.id, "remote-1", desk=bench.desk).remote is not None
    assert jobs.settle(job.id, "remote-1", desk=bench.desk).state is JobState.RUNNING, "twice is once"
    assert jobs.submit(bench.plan(), desk=bench.desk).id == job.id
    assert bench.service.calls.count("create") == 1


@pytest.mark.parametrize("by", ["settle", "adopt"])
def test_a_job_that_was_to_be_cancelled_is_stopped_once_it_is_known(bench: Bench, by: str) -> None:
    job = left_open(bench)
    bench.service.faults["find"] = [RejectedError("fake: lists are not for you")]
    with pytest.raises(AmbiguousError):
        jobs.cancel(job.id, desk=bench.desk)
    if by == "settle":
        taken = jobs.settle(job.id, "remote-1", desk=bench.desk)
    else:
        taken = jobs.adopt("fake", "remote-1", desk=bench.desk)
    assert (taken.id, taken.state) == (job.id, JobState.CANCELLED)
    assert bench.service.jobs["remote-1"]["status"] == "stopped"


def test_a_job_is_not_tied_to_one_that_carries_another_id(bench: Bench, elsewhere: str) -> None:
    job = left_open(bench)
    with pytest.raises(ConflictError, match="is theirs, not"):
        jobs.settle(job.id, elsewhere, desk=bench.desk)
    assert bench.store.get(job.id).remote is None


def test_a_job_about_which_nothing_is_open_is_not_tied_to_another(bench: Bench, elsewhere: str) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    with pytest.raises(ConflictError, match="nothing open"):
        jobs.settle(job.id, elsewhere, desk=bench.desk)


def test_a_job_that_the_provider_cannot_be_asked_about_is_given_up_on_the_users_word(bench: Bench) -> None:
    job = left_open(bench)
    bench.service.faults["find"] = [RejectedError("fake: lists are not for you")]
    assert jobs.abandon(job.id, desk=bench.desk).state is JobState.CANCELLED
    assert jobs.submit(bench.plan(training={"epochs": 5}), desk=bench.desk).attempt == 2


def test_a_job_that_the_provider_shows_is_not_given_up(bench: Bench) -> None:
    job = left_open(bench)
    with pytest.raises(ConflictError, match="has") as caught:
        jobs.abandon(job.id, desk=bench.desk)
    assert f"anytune cancel {job.id}" in str(caught.value.fix)
    running = bench.store.get(job.id)
    assert running.remote is not None, "and what was found is kept"
    with pytest.raises(ConflictError):
        jobs.abandon(job.id, desk=bench.desk)


def test_a_job_that_vanished_for_good_is_given_up(bench: Bench) -> None:
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.jobs.clear()
    bench.clock.sleep(2 * jobs.YOUNG)
    assert jobs.refresh(job.id, desk=bench.desk).state is JobState.UNKNOWN
    ended = jobs.abandon(job.id, desk=bench.desk)
    assert (ended.state, ended.error) == (JobState.CANCELLED, "abandoned; last seen unknown")


def test_a_provider_that_is_away_is_no_obstacle_and_a_wrong_key_is(bench: Bench) -> None:
    """A key that is refused says nothing of the job and can be mended; an outage may last."""
    job = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["retrieve"] = [KeyRefusedError("not this key")]
    with pytest.raises(KeyRefusedError):
        jobs.abandon(job.id, desk=bench.desk)
    bench.service.faults["retrieve"] = [UnavailableError("away")] * 10
    ended = jobs.abandon(job.id, desk=bench.desk)
    assert ended.state is JobState.CANCELLED
    assert ended.error == (
        "abandoned; last seen queued; fake could not be asked and may have it, running and charged for: away"
    )
