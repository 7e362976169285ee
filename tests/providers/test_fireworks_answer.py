"""What Fireworks' words mean."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from anytune.errors import MalformedAnswerError, RateLimitedError, RejectedError
from anytune.providers.fireworks import answer as answers
from anytune.schema.job import JobState

NAME = "accounts/me/supervisedFineTuningJobs/at-sums-7f3a9c2b10"

# The words of the vendor's published description: 18, as its SDK 1.2.30 lists them.
PUBLISHED = {
    "UNSPECIFIED": "unknown",
    "CREATING": "queued",
    "RUNNING": "running",
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "DELETING": "cancelling",
    "WRITING_RESULTS": "finalizing",
    "VALIDATING": "validating",
    "DELETING_CLEANING_UP": "cancelling",
    "PENDING": "queued",
    "EXPIRED": "failed",
    "RE_QUEUEING": "queued",
    "CREATING_INPUT_DATASET": "validating",
    "IDLE": "paused",
    "CANCELLING": "cancelling",
    "EARLY_STOPPED": "succeeded",
    "PAUSED": "paused",
    "DELETED": "cancelled",
    "ARCHIVED": "cancelled",
}


def job(**fields: Any) -> Any:
    told = {"name": NAME, "state": "JOB_STATE_RUNNING", "displayName": "sums-7f3a9c2b10", **fields}
    return answers.job_of(told, act="look")


@pytest.mark.parametrize(("word", "state"), PUBLISHED.items())
def test_every_published_word_has_its_state(word: str, state: str) -> None:
    assert job(state=f"JOB_STATE_{word}").state == state
    assert job(state=f"JOB_STATE_{word}").status == f"JOB_STATE_{word}"


def test_progress_shows_that_a_running_job_goes_on() -> None:
    marks = [job(jobProgress=told).mark for told in ({"percent": 7, "epoch": 0}, {"percent": 7, "epoch": 1}, None, 9)]
    assert len(set(marks)) == 3
    assert marks[2] == marks[3] == ""


@pytest.mark.parametrize("word", ["JOB_STATE_MEDITATING", "", None, 7])
def test_an_unheard_of_word_ends_nothing(word: object) -> None:
    assert job(state=word).state is JobState.UNKNOWN


def test_a_finished_job_tells_model_times_and_cost() -> None:
    ended = job(
        state="JOB_STATE_COMPLETED",
        outputModel="accounts/me/models/at-sums",
        createTime="2026-11-01T10:00:00.123456789Z",
        completedTime="2026-11-01T11:00:00Z",
        estimatedCost={"currencyCode": "USD", "units": "2", "nanos": 500_000_000},
        dataset="accounts/me/datasets/at-1",
    )
    assert ended.model == "accounts/me/models/at-sums"
    assert ended.finished_at == datetime(2026, 11, 1, 11, tzinfo=UTC)
    assert ended.cost == Decimal("2.5")
    assert ended.training_file == "accounts/me/datasets/at-1"
    assert ended.seen_job_id == "sums-7f3a9c2b10"


@pytest.mark.parametrize(
    ("told", "model"),
    [
        ({}, "accounts/me/models/at-sums-7f3a9c2b10"),
        ({"outputModel": "bare"}, "accounts/me/models/bare"),
        ({"trainingConfig": {"outputModel": "accounts/me/models/pairs"}}, "accounts/me/models/pairs"),
    ],
)
def test_a_model_that_is_told_otherwise_or_not_at_all_still_has_a_name(told: Any, model: str) -> None:
    assert job(state="JOB_STATE_COMPLETED", **told).model == model


@pytest.mark.parametrize(
    ("money", "dollars"),
    [
        ({"units": "3"}, Decimal(3)),
        ({"nanos": 10_000_000}, Decimal("0.01")),
        ({"currencyCode": "EUR", "units": "3"}, None),
        ({"units": "-1", "nanos": -5}, None),
        ({"units": "many"}, None),
        ("3", None),
    ],
)
def test_money_is_read_in_dollars_or_not_at_all(money: object, dollars: Decimal | None) -> None:
    assert job(state="JOB_STATE_COMPLETED", estimatedCost=money).cost == dollars


def test_an_estimate_is_no_cost_before_the_end() -> None:
    assert job(estimatedCost={"units": "3"}).cost is None


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        ({"code": "INVALID_ARGUMENT", "message": "row 3\nis bad"}, "row 3 is bad (INVALID_ARGUMENT)", "user"),
        ({"code": "INTERNAL", "message": "Internal error"}, "Internal error (INTERNAL)", "provider"),
        ({"code": "RESOURCE_EXHAUSTED"}, "the job ended as JOB_STATE_FAILED", "provider"),
        (None, "the job ended as JOB_STATE_FAILED", "provider"),
    ],
)
def test_a_failed_job_tells_why_and_whose_fault_it_is(status: object, error: str, cause: str) -> None:
    failed = job(state="JOB_STATE_FAILED", status=status)
    assert (failed.error, failed.cause) == (error, cause)


def test_a_display_name_of_somebody_else_is_not_taken_for_our_id() -> None:
    assert job(displayName="another").seen_job_id is None
    assert job(displayName="x" * 200).seen_job_id is None
    assert job(displayName=None).seen_job_id is None


@pytest.mark.parametrize("name", [None, "", "accounts/me/dpoJobs/..", "accounts/me/models/m", "../x", f"{NAME}/more"])
def test_an_answer_that_is_no_job_is_not_taken_for_one(name: object) -> None:
    with pytest.raises(MalformedAnswerError):
        job(name=name)


def test_a_job_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(MalformedAnswerError, match="another job"):
        answers.job_of({"name": NAME}, act="look", expected=f"{NAME}x")


def test_a_dataset_is_ready_not_yet_or_faulty() -> None:
    answers.require_ready({"state": "READY"}, act="look")
    with pytest.raises(RateLimitedError) as caught:
        answers.require_ready({"state": "UPLOADING", "status": {"code": "OK"}}, act="look")
    assert caught.value.retry_after == 2
    with pytest.raises(RejectedError, match="row 3"):
        told = {"state": "UPLOADING", "status": {"code": "INVALID_ARGUMENT", "message": "row 3"}}
        answers.require_ready(told, act="look")


@pytest.mark.parametrize("told", [{}, {"filenameToSignedUrls": {}}, {"filenameToSignedUrls": {"a": 3}}])
def test_an_answer_without_addresses_is_none(told: Any) -> None:
    with pytest.raises(MalformedAnswerError):
        answers.signed_urls(told, act="upload")
