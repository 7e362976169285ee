"""What Together's words, prices and events mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import MalformedAnswerError, NotFoundError
from anytune.providers.together import answer as answers
from anytune.schema.job import Cause, JobState, RemoteJob
from tests.providers._together import JOB_ID, TogetherRig, running
from tests.stubs.together import TogetherStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


def job(**fields: Any) -> RemoteJob:
    return answers.job_of({"id": "ft-1", "status": "running", **fields}, act="retrieve the job")


@pytest.mark.parametrize(
    ("word", "state", "cause"),
    [
        ("pending", JobState.QUEUED, None),
        ("queued", JobState.QUEUED, None),
        ("running", JobState.RUNNING, None),
        ("compressing", JobState.FINALIZING, None),
        ("uploading", JobState.FINALIZING, None),
        ("completed", JobState.SUCCEEDED, None),
        ("cancel_requested", JobState.CANCELLING, None),
        ("cancelled", JobState.CANCELLED, None),
        ("error", JobState.FAILED, "provider"),
        ("user_error", JobState.FAILED, "user"),
        ("Completed", JobState.UNKNOWN, None),
        ("meditating", JobState.UNKNOWN, None),
        ("", JobState.UNKNOWN, None),
    ],
)
def test_each_word_has_one_state_and_an_unheard_of_one_ends_nothing(
    word: str, state: JobState, cause: Cause | None
) -> None:
    answer = job(status=word, model_output_name="acme/m")
    assert (answer.state, answer.status, answer.cause) == (state, word, cause)
    assert (answer.model is not None) == (state is JobState.SUCCEEDED)


@pytest.mark.parametrize("status", [None, 3, {}, ["completed"]])
def test_a_status_that_is_no_word_is_shown_and_ends_nothing(status: Any) -> None:
    assert job(status=status).state is JobState.UNKNOWN
    assert job(status=status).status


@pytest.mark.parametrize("name", ["model_output_name", "x_model_output_name", "output_name"])
def test_the_model_is_found_under_each_name_that_the_service_has_used(name: str) -> None:
    assert job(status="completed", **{name: "acme/m"}).model == "acme/m"


def test_a_completed_job_without_a_model_is_still_at_work() -> None:
    answer = job(status="completed", model_output_name="")
    assert answer.state is JobState.FINALIZING
    assert answer.finished_at is None


@pytest.mark.parametrize(
    ("price", "status", "cost"),
    [
        (4_000_000_000, "completed", Decimal(4)),
        (1, "running", Decimal("1E-9")),
        (0, "running", None),
        (0, "cancelled", Decimal(0)),
        (None, "completed", None),
        (True, "completed", None),
        (-5, "completed", None),
        ("4", "completed", None),
    ],
)
def test_prices_come_in_nano_dollars(price: Any, status: str, cost: Decimal | None) -> None:
    assert job(status=status, total_price=price, model_output_name="m").cost == cost


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-09-21T14:13:20Z", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        ("2026-09-21T14:13:20.123Z", datetime(2026, 9, 21, 14, 13, 20, 123000, tzinfo=UTC)),
        ("2026-09-21T14:13:20", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        ("yesterday", None),
        (1790000000, None),
    ],
)
def test_times_are_read_or_left_out(text: Any, at: datetime | None) -> None:
    assert job(created_at=text).created_at == at


@pytest.mark.parametrize("id", [None, "", " ", 7, "../x", "a b"])
def test_a_job_without_a_usable_id_is_no_job(id: Any) -> None:
    with pytest.raises(MalformedAnswerError):
        job(id=id)


def test_a_job_stopped_for_lack_of_credit_is_told_from_one_that_a_person_stopped() -> None:
    broke = [{"type": "billing_limit", "message": "The balance check failed", "level": "error"}]
    assert job(status="cancelled", events=broke).cause == "billing"
    assert job(status="cancelled", events=broke).error == "The balance check failed"
    assert job(status="cancelled", events=[]).cause is None


def test_an_answer_about_another_job_is_no_answer(rig: TogetherRig) -> None:
    one, other = rig.start(), rig.start("another-job-0123456789")
    rig.stub.set(one, id=other)
    with pytest.raises(MalformedAnswerError, match="another job"):
        rig.provider.retrieve(one)


@pytest.mark.parametrize("word", ["error", "user_error"])
def test_a_failed_job_says_why_although_the_answer_does_not(rig: TogetherRig, word: str) -> None:
    rig.stub.life = ("pending", word)
    ended = rig.provider.retrieve(rig.start())
    assert ended.state is JobState.FAILED
    assert ended.error == f"Training ended as {word}"


@pytest.mark.parametrize("remote_id", ["../files", "ft-1/cancel", "", "ft 1"])
def test_an_id_that_is_none_is_unknown_and_asked_of_nobody(rig: TogetherRig, remote_id: str) -> None:
    for act in (rig.provider.retrieve, rig.provider.events, rig.provider.cancel):
        with pytest.raises(NotFoundError):
            act(remote_id)
    assert rig.calls() == 0


def test_events_are_told_once_and_oldest_first_with_their_figures(rig: TogetherRig) -> None:
    remote_id = rig.start()
    rig.stub.life = ("pending", "running")
    rig.provider.retrieve(remote_id)
    rig.stub.tell(remote_id, "warning", "The data are few", level="legacy_iwarning")
    record = rig.stub._records[remote_id]
    record.events = [*record.events[::-1], record.events[0]]
    events = [event for event in rig.provider.events(remote_id) if event.data["type"] != "metrics"]
    assert [event.data["type"] for event in events] == [
        "job_pending",
        "job_start",
        "checkpoint_save",
        "checkpoint_save",
        "warning",
    ]
    assert [event.level for event in events] == ["info"] * 4 + ["warning"]
    assert [(e.data["step"], e.data["total_steps"]) for e in events[2:4]] == [(1, 2), (2, 2)]


def test_events_without_a_hash_keep_their_ids(rig: TogetherRig) -> None:
    rig.stub.hashes = False
    remote_id = rig.start()
    rig.provider.retrieve(remote_id)
    first = [event.id for event in rig.provider.events(remote_id)]
    rig.stub.tell(remote_id, "job_start", "Job started")
    second = [event.id for event in rig.provider.events(remote_id)]
    assert second[:-1] == first
    assert len(set(second)) == len(second)


def test_strange_events_are_read_as_far_as_they_go() -> None:
    rows: list[Any] = [
        {},
        {"created_at": "2026-09-21T14:13:20Z", "type": "JOB_ERROR", "message": None, "step": "one"},
        {"created_at": None, "message": 7, "hash": 7, "level": 3},
    ]
    events = answers.events_of(rows)
    assert [event.message for event in events] == ["", "7", "JOB_ERROR"]
    assert [event.level for event in events] == ["info", "info", "error"]


def test_seen_job_ids_are_only_ours(rig: TogetherRig) -> None:
    remote_id = rig.start()
    assert rig.provider.retrieve(remote_id).seen_job_id == JOB_ID
    rig.stub.set(remote_id, suffix="my-model")
    assert rig.provider.retrieve(remote_id).seen_job_id is None
