"""OpenAI's answers as they may come: every word has a state, and what is no answer is never taken for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    MalformedAnswerError,
)
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import JobState
from tests.providers._openai import ANY_JOB, JOBS, LIST, MODEL, chats, data_file, provider, request
from tests.providers._openai import started as start
from tests.stubs.openai import NULLS, OpenAIStub


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as running:
        yield running


@pytest.fixture
def openai(stub: OpenAIStub) -> OpenAIProvider:
    return provider(stub)


# jobs as they may be told


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("validating_files", JobState.VALIDATING),
        ("queued", JobState.QUEUED),
        ("pending", JobState.QUEUED),
        ("running", JobState.RUNNING),
        ("paused", JobState.PAUSED),
        ("succeeded", JobState.FINALIZING),
        ("failed", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("pre-empted", JobState.UNKNOWN),
        ("", JobState.UNKNOWN),
        (None, JobState.UNKNOWN),
        (7, JobState.UNKNOWN),
    ],
)
def test_each_word_of_the_provider_has_a_state_and_is_kept(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, word: Any, state: JobState
) -> None:
    job = start(openai, tmp_path)
    stub.life = ()
    stub.set(job.id, status=word)
    told = openai.retrieve(job.id)
    assert told.state is state
    assert told.status == (word if isinstance(word, str) else f"({word})")


def test_a_success_without_a_model_is_not_the_end(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    job = start(openai, tmp_path)
    stub.set(job.id, status="succeeded")
    assert openai.retrieve(job.id).state is JobState.FINALIZING
    stub.set(job.id, fine_tuned_model="ft:x")
    assert openai.retrieve(job.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("error", [{}, None, NULLS, {"message": ""}])
def test_a_healthy_jobs_error_is_none(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, error: Any) -> None:
    job = start(openai, tmp_path)
    stub.life = ()
    stub.set(job.id, status="running", error=error)
    assert openai.retrieve(job.id).error is None


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        ({"code": "exceeded_quota", "message": "No credit"}, "billing", "No credit (exceeded_quota)"),
        ({"code": "invalid_n_examples", "message": "9\nlines"}, "user", "9 lines (invalid_n_examples)"),
        ({"code": None, "message": "Flagged", "param": "training_file"}, "user", "Flagged"),
        ({"code": "server_error", "message": None}, "provider", "server_error"),
        ({}, "provider", None),
    ],
)
def test_a_failed_job_says_whose_fault_it_was(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, error: Any, cause: str, said: str | None
) -> None:
    job = start(openai, tmp_path)
    stub.set(job.id, status="failed", error=error)
    told = openai.retrieve(job.id)
    assert (told.cause, told.error) == (cause, said)


# answers that are none


def test_the_answer_about_another_job_is_no_answer(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    job = start(openai, tmp_path)
    stub.fail_next(ANY_JOB, status=200, body={**stub.jobs[job.id], "id": "ftjob-other"})
    with pytest.raises(MalformedAnswerError, match="ftjob-other"):
        openai.retrieve(job.id)


ASKED = [[{"role": "user", "content": "Tide 3?"}]]
DEEP = b"[" * 100_000
HTML_NEXT, CUT_NEXT = "html", "cut"
NO_ANSWERS: list[Any] = [HTML_NEXT, CUT_NEXT, {}, [], None, 7, {"id": ""}, {"id": None}, {"id": 7}, DEEP]


def spoil(stub: OpenAIStub, pattern: str, answer: Any) -> None:
    if answer in (HTML_NEXT, CUT_NEXT):
        getattr(stub, f"{answer}_next")(pattern)
    else:
        body = b"null" if answer is None else answer
        stub.fail_next(pattern, status=200, body=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=lambda answer: repr(answer)[:20])
def test_an_answer_that_is_none_is_never_taken_for_one(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, answer: Any
) -> None:
    file = data_file(tmp_path, chats(12))
    job = openai.create(request(openai, openai.upload(file)))
    acts: dict[str, Callable[[], object]] = {
        JOBS: lambda: openai.create(request(openai, job.training_file or "")),
        f"{ANY_JOB}-*": lambda: openai.retrieve(job.id),
        LIST: lambda: openai.find("tides-1"),
        "*/events": lambda: openai.events(job.id),
        "*/cancel": lambda: openai.cancel(job.id),
        "GET */files": lambda: openai.upload(file),
        "*/completions": lambda: list(openai.generator(base=MODEL, tuned=None).answer(ASKED, max_new_tokens=1)),
    }
    for pattern, act in acts.items():
        spoil(stub, pattern, answer)
        with pytest.raises(MalformedAnswerError):
            act()


def test_an_upload_without_an_id_is_no_upload(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    stub.fail_next("POST */files", status=200, body={"object": "file"})
    with pytest.raises(MalformedAnswerError, match="no id"):
        openai.upload(data_file(tmp_path, chats(12)))


@pytest.mark.parametrize("page", [{"data": [], "has_more": True}, {"data": None}, {"data": [{"id": None}]}])
def test_a_list_that_cannot_be_read_is_not_an_empty_one(stub: OpenAIStub, openai: OpenAIProvider, page: Any) -> None:
    stub.fail_next(LIST, status=200, body=page)
    with pytest.raises(MalformedAnswerError):
        openai.find("tides-1")


def test_a_list_that_leads_in_a_circle_ends(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    remote_id = start(openai, tmp_path).id
    job = stub.jobs[remote_id]
    stub.fail_next(LIST, status=200, times=9, body={"data": [job], "has_more": True})
    with pytest.raises(MalformedAnswerError, match="repeat"):
        openai.find("nobody")
    assert len(stub.calls(LIST)) == 2


@pytest.mark.parametrize("times", [(5, 5, 5), (7, 6, 5)])
def test_events_of_one_second_keep_the_order_in_which_they_were_told(
    stub: OpenAIStub, openai: OpenAIProvider, times: tuple[int, ...]
) -> None:
    newest_first = [{"id": f"e{3 - n}", "created_at": at, "message": "m"} for n, at in enumerate(times)]
    stub.fail_next("*/events", status=200, body={"data": newest_first, "has_more": False})
    assert [event.id for event in openai.events("ftjob-1")] == ["e1", "e2", "e3"]


def test_a_server_that_tells_the_oldest_first_is_understood(stub: OpenAIStub, openai: OpenAIProvider) -> None:
    told = [{"id": f"e{n}", "created_at": at, "message": "m"} for n, at in enumerate((5, 5, 6))]
    stub.fail_next("*/events", status=200, body={"data": told, "has_more": False})
    assert [event.id for event in openai.events("ftjob-1")] == ["e0", "e1", "e2"]


def test_an_event_may_be_odd_and_still_be_told(stub: OpenAIStub, openai: OpenAIProvider) -> None:
    odd = {"id": "e1", "created_at": "soon", "level": "fatal", "message": None, "data": [1]}
    stub.fail_next("*/events", status=200, body={"data": [odd], "has_more": False})
    (event,) = openai.events("ftjob-1")
    assert (event.level, event.message, event.data, event.at.year) == ("info", "", {}, 1970)


def test_what_became_of_auto_is_told_once_it_is_a_number(openai: OpenAIProvider, tmp_path: Path) -> None:
    job = start(openai, tmp_path)
    assert job.settings == {"n_epochs": 3}
    for _ in range(2):
        job = openai.retrieve(job.id)
    assert job.settings == {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8}


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        (
            {"method": None, "hyperparameters": {"n_epochs": 2, "lora": True, "note": "x", "batch_size": -1}},
            {"n_epochs": 2, "lora": True},
        ),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}}, {"beta": 0.1}),
        ({"method": {"type": "dpo"}, "hyperparameters": None}, {}),
        ({"method": 7, "hyperparameters": [1]}, {}),
    ],
)
def test_hyperparameters_are_read_wherever_they_stand(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, fields: dict[str, Any], settings: dict[str, Any]
) -> None:
    job = start(openai, tmp_path)
    stub.life = ()
    stub.fail_next(ANY_JOB, status=200, body={**stub.jobs[job.id], **fields})
    assert openai.retrieve(job.id).settings == settings
