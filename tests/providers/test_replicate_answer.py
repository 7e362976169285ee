"""What Replicate's words and logs mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from anytune.errors import MalformedAnswerError
from anytune.providers.replicate import answer as answers
from anytune.schema.job import Event, JobState

ID = "zz4ibbonubfz7carwiefibzgga"

# The words of the vendor's description of trainings, and the one that it has for predictions besides.
PUBLISHED = {
    "starting": "queued",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "cancelled",
    "aborted": "failed",
}


def told(**fields: Any) -> dict[str, Any]:
    return {"id": ID, "status": "processing", "created_at": "2026-11-27T12:00:00.990893084Z", **fields}


def job(**fields: Any) -> Any:
    return answers.job_of(told(**fields), act="look")


def events(**fields: Any) -> list[Event]:
    return answers.events_of(told(**fields), act="look")


@pytest.mark.parametrize(("word", "state"), PUBLISHED.items())
def test_every_published_word_has_its_state(word: str, state: str) -> None:
    assert job(status=word).state == state
    assert job(status=word).status == word


@pytest.mark.parametrize("word", ["meditating", "", None, 7, "SUCCEEDED", ["failed"]])
def test_an_unheard_of_word_ends_nothing(word: object) -> None:
    assert job(status=word).state is JobState.UNKNOWN


@pytest.mark.parametrize("id", [None, "", 7, "a/b", "a b"])
def test_an_answer_without_an_id_is_none(id: object) -> None:
    with pytest.raises(MalformedAnswerError):
        job(id=id)


def test_another_training_is_not_taken_for_the_one_asked_for() -> None:
    with pytest.raises(MalformedAnswerError, match="about another"):
        answers.job_of(told(), act="look", expected="other")


@pytest.mark.parametrize("output", [None, [], "text", {}, {"version": None}, {"version": 7}])
def test_an_output_of_another_shape_names_no_model(output: object) -> None:
    assert job(status="succeeded", output=output).model is None


def test_times_are_kept_to_the_microsecond() -> None:
    ended = job(status="canceled", completed_at="2026-11-27T13:00:00Z")
    assert ended.created_at == datetime(2026, 11, 27, 12, 0, 0, 990893, tzinfo=UTC)
    assert ended.finished_at == datetime(2026, 11, 27, 13, tzinfo=UTC)
    assert job(created_at="yesterday").created_at is None


def test_an_aborted_training_is_the_providers_fault() -> None:
    ended = job(status="aborted")
    assert ended.error == "it was aborted before it could start"
    assert ended.cause == "provider"


def test_a_line_that_is_being_written_waits_until_it_is_whole() -> None:
    half = events(logs="first\nseco")
    assert [event.message for event in half] == ["the training was created", "first"]
    whole = events(logs="first\nsecond\nthi")
    assert [event.message for event in whole] == ["the training was created", "first", "second"]
    assert [event.id for event in whole][:2] == [event.id for event in half]
    ended = events(logs="first\nsecond\nthird", status="failed", error="boom")
    assert [event.message for event in ended] == ["the training was created", "first", "second", "third", "boom"]
    assert ended[-1].level == "error"


def test_lines_come_after_the_beginning_and_before_the_end_whatever_the_clocks_say() -> None:
    made = events(
        logs="one\n", status="succeeded", started_at="2026-11-27T11:00:00Z", completed_at="2026-11-27T10:00:00Z"
    )
    assert [event.at for event in made] == sorted(event.at for event in made)
    assert [event.id for event in made] == [f"{ID}#created", f"{ID}#log-0", f"{ID}#ended"]


def test_a_progress_bar_counts_once_and_blank_lines_not_at_all() -> None:
    made = events(logs="  0%|  |\r 50%|# |\r100%|##|\n\n \nend\r\n")
    assert [(event.id, event.message) for event in made][1:] == [
        (f"{ID}#log-0", "100%|##|"),
        (f"{ID}#log-3", "end"),
    ]


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        (" step 7 is completed and loss is 1.25", {"step": 7, "loss": 1.25}),
        (" step 7 is completed and loss is 1.5e-05", {"step": 7, "loss": 1.5e-05}),
        ('{"loss": 0.5, "epoch": 1, "done": true, "name": "x"}', {"loss": 0.5, "epoch": 1}),
        ('{"loss": NaN}', {}),
        ("{'loss': 0.5}", {}),
        ("{" * 5000, {}),
        ("step 7 is completed and loss is nan", {}),
    ],
)
def test_figures_are_read_where_a_line_says_them_plainly(line: str, figures: dict[str, float]) -> None:
    (_, event) = events(logs=f"{line}\n")
    assert event.data == figures


def test_the_seconds_of_a_run_are_told_at_its_end() -> None:
    assert events(status="succeeded", metrics={"predict_time": 502.7})[-1].data == {"seconds": 502.7}
    assert events(status="succeeded", metrics=[])[-1].data == {}


@pytest.mark.parametrize("logs", [None, 7, ["a"], ""])
def test_a_log_of_another_shape_is_none(logs: object) -> None:
    assert len(events(logs=logs)) == 1


@pytest.mark.parametrize("urls", [None, {}, {"get": None}, {"get": "https://api.replicate.com/v1/files/"}])
def test_a_file_without_an_address_is_none(urls: object) -> None:
    with pytest.raises(MalformedAnswerError):
        answers.address_of({"id": "x", "urls": urls}, act="upload")
