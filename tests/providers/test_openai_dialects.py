"""What holds of every dialect: what a job leaves behind is told, and no fact of one is idle."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AnytuneError,
    NotFoundError,
    RejectedError,
)
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import JobState
from anytune.schema.model import TunedModel
from tests.providers._openai import MODEL, ended, provider, started
from tests.stubs._openai_manners import AZURE, BOM, NEBIUS
from tests.stubs.openai import START, OpenAIStub

LLAMA = "meta-llama/Meta-Llama-3.1-8B-Instruct"
ID = "tides-0a1b2c3d4e"


@pytest.fixture
def azure() -> Iterator[OpenAIStub]:
    with OpenAIStub(manner=AZURE) as stub:
        yield stub


# what a job leaves behind

CSV = "step,train_loss,train_accuracy,valid_loss\n1,2.5,0.4,\n2,1.25,0.5,1.5\n\nx,y\n"


@pytest.mark.parametrize("content", [CSV.encode(), base64.encodebytes(CSV.encode()), BOM + CSV.encode()])
def test_the_figures_of_the_result_file_are_events_where_no_event_tells_a_loss(
    azure: OpenAIStub, tmp_path: Path, content: bytes
) -> None:
    azure.steps, azure.results = 0, content
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    told = [event for event in at.events(job.id) if event.data]
    assert [event.data for event in told] == [
        {"step": 1, "loss": 2.5, "train_accuracy": 0.4},
        {"step": 2, "loss": 1.25, "train_accuracy": 0.5, "valid_loss": 1.5},
    ]
    assert told[0].message == "step 1: loss 2.5, train_accuracy 0.4"
    assert [event.id for event in told] == [event.id for event in at.events(job.id) if event.data]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe,", b"loss,epoch\n1,2\n", b"step\nnan\n", b"step,loss\n1," + b"9" * 200_000],
    ids=["empty", "not-text", "no-step", "no-number", "a-cell-without-end"],
)
def test_a_result_file_that_tells_nothing_is_no_event(azure: OpenAIStub, tmp_path: Path, content: bytes) -> None:
    azure.steps, azure.results = 0, content
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    assert [event for event in at.events(job.id) if event.data] == []


def test_no_result_file_is_asked_for_where_the_events_tell_the_loss(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        stub.results = CSV.encode()
        at = provider(stub)
        job = ended(at, started(at, tmp_path))
        at.events(job.id)
        assert stub.calls("*/content") == []


# a paused job, a new model


def test_a_paused_job_goes_on_and_any_other_is_left_alone(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        at = provider(stub)
        job = started(at, tmp_path)
        stub.life = ()
        stub.set(job.id, status="paused")
        assert at.resume(job.id).state is JobState.QUEUED
        assert at.resume(job.id).state is JobState.QUEUED
        assert len(stub.calls("*/resume")) == 1


def test_a_model_that_was_made_long_ago_and_is_not_there_is_gone(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        at = provider(stub)
        job = ended(at, started(at, tmp_path))
        stub.set(job.id, finished_at=START - 24 * 3600)
        stub.not_ready = 1
        tuned = TunedModel(provider="openai", base=MODEL, name=job.model or "", job_id="tides-1")
        with pytest.raises(NotFoundError):
            list(at.generator(base=MODEL, tuned=tuned).answer([[{"role": "user", "content": "Hi"}]], max_new_tokens=1))


# the dialects have no fact that is not needed


def lives(at: OpenAIProvider, stub: OpenAIStub, folder: Path, model: str) -> bool:
    """Tell whether a job goes all the way: sent, created, found, ended with a model, each call answered."""
    try:
        job = started(at, folder, job_id=ID, model=model)
        stub.set(job.id, metadata=None)
        found = at.find(ID)
        stub.finish(job.id)
        done = at.retrieve(job.id)
        told = [event.message for event in at.events(job.id)]
    except AnytuneError:
        return False
    return found is not None and done.state is JobState.SUCCEEDED and told[0].startswith("Created")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("azure", {"byte_order_mark": False}),
        ("azure", {"suffix": 64}),
        ("azure", {"tag": "metadata"}),
        ("azure", {"tiers": None}),
        ("azure", {"key_header": "authorization"}),
        ("nebius", {"hyperparameters": "method"}),
        ("nebius", {"tag": "both"}),
        ("nebius", {"model": "job"}),
        ("nebius", {"byte_order_mark": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_dialect_with_one_false_fact_is_caught(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    manner, model = {"azure": (AZURE, MODEL), "nebius": (NEBIUS, LLAMA)}[name]
    with OpenAIStub(manner=manner) as stub:
        assert lives(provider(stub, name=name), stub, tmp_path, model)
    with OpenAIStub(manner=manner) as stub:
        broken = provider(stub, name=name)
        vars(broken._speech)["dialect"] = broken._speech.dialect.model_copy(update=changes)
        assert not lives(broken, stub, tmp_path, model)


def test_a_file_that_is_not_waited_for_is_refused_by_azure(azure: OpenAIStub, tmp_path: Path) -> None:
    azure.unchecked = 1
    hasty = provider(azure, name="azure")
    vars(hasty._speech)["dialect"] = hasty._speech.dialect.model_copy(update={"checks_files": False})
    with pytest.raises(RejectedError, match="not processed"):
        started(hasty, tmp_path)


@pytest.mark.parametrize(("name", "ids"), [("nebius", ["e0", "e1"]), ("azure", ["e1", "e0"])])
def test_events_of_one_second_stand_in_the_order_of_the_dialect(name: str, ids: list[str]) -> None:
    with OpenAIStub(manner={"nebius": NEBIUS, "azure": AZURE}[name]) as stub:
        told = [{"id": f"e{n}", "created_at": 5, "message": "m"} for n in range(2)]
        stub.fail_next("*/events", status=200, body={"data": told, "has_more": False})
        assert [event.id for event in provider(stub, name=name).events("ftjob-1")] == ids
