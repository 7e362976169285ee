"""What is made of the Hub's answers, and of what the trainer leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    NotFoundError,
    QuotaError,
)
from anytune.local.hf_jobs.answer import STATES
from anytune.schema.job import JobState
from tests.providers._hub import CREATE, JOB_ID, LOOK, HubRig, hub_id, running
from tests.stubs.hub import REPOSITORY as NAME
from tests.stubs.hub import HubStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


def test_every_stage_of_the_library_has_a_state() -> None:
    from huggingface_hub import JobStage

    assert set(STATES) == {stage.value for stage in JobStage}


@pytest.mark.parametrize(
    ("stage", "state"), [("SCHEDULING", "queued"), ("RUNNING", "running"), ("PREEMPTED", "unknown")]
)
def test_a_machine_that_is_not_gone_is_asked_about_by_one_call(rig: HubRig, stage: str, state: str) -> None:
    rig.stub.life = (stage,)
    id = rig.start()
    before = rig.calls()
    assert rig.provider.retrieve(id).state == state
    assert rig.calls() == before + 1


def test_the_price_is_that_of_the_hubs_own_list(rig: HubRig) -> None:
    request = rig.request()
    assert str(rig.provider.quote(request)) == "3.20"
    rig.stub.prices.pop("l4x1")
    assert rig.provider.quote(request) is None


@pytest.mark.parametrize("stage", ["COMPLETED", "ERROR", "CANCELED", "DELETED"])
def test_with_the_whole_model_there_a_job_has_succeeded_however_its_machine_ended(rig: HubRig, stage: str) -> None:
    id = rig.start()
    rig.finish(id)
    rig.stub.enter(hub_id(id), stage)
    job = rig.provider.retrieve(id)
    assert job.state is JobState.SUCCEEDED
    assert job.model == f"hf://datasets/{NAME}/jobs/{JOB_ID}/model"
    assert job.trained_tokens == 120


def test_what_a_job_cost_are_its_machines_minutes(rig: HubRig) -> None:
    id = rig.start()
    rig.finish(id)
    assert str(rig.provider.retrieve(id).cost) == "0.0267"  # two begun minutes at $0.80 an hour


def test_the_trainers_own_word_says_why_a_job_failed(rig: HubRig) -> None:
    id = rig.start()
    result = {"state": "failed", "cause": "user", "error": "out of memory", "fix": "set micro_batch_size: 1"}
    rig.stub.leave(JOB_ID, {"result.json": json.dumps(result).encode()})
    rig.stub.enter(hub_id(id), "ERROR", message="Job failed with exit code: 1")
    job = rig.provider.retrieve(id)
    assert (job.state, job.cause) == (JobState.FAILED, "user")
    assert job.error == "out of memory; set micro_batch_size: 1"


@pytest.mark.parametrize(("stage", "state"), [("COMPLETED", "failed"), ("ERROR", "failed"), ("CANCELED", "cancelled")])
def test_a_job_that_left_nothing_is_told_by_its_machines_word(rig: HubRig, stage: str, state: str) -> None:
    id = rig.start()
    rig.stub.enter(hub_id(id), stage, message="Job timeout")
    job = rig.provider.retrieve(id)
    assert job.state == state
    assert state == "cancelled" or "Job timeout and left no result" in (job.error or "")


def test_a_result_that_cannot_be_read_is_not_taken_for_none(rig: HubRig) -> None:
    id = rig.start()
    rig.finish(id)
    for order in (rig.stub.html_next, rig.stub.drop_next, rig.stub.cut_next):
        order("GET /api/resolve-cache/*/result.json")
        with pytest.raises(AmbiguousError):
            rig.provider.retrieve(id)
    rig.stub.fail_next("GET */resolve/main/*/result.json", status=404, body={"error": "a page of somebody between"})
    with pytest.raises(NotFoundError):
        rig.provider.retrieve(id)
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_a_job_with_a_checkpoint_is_paused_and_resume_starts_one_more_machine(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.leave(JOB_ID, {f"checkpoints/step-0000000{n}/manifest.json": b"{}" for n in (4, 7)})
    rig.stub.enter(hub_id(id), "ERROR", message="Job timeout")
    paused = rig.provider.retrieve(id)
    assert paused.state is JobState.PAUSED
    assert paused.error == "Job timeout; resume goes on from step 7"
    going = rig.provider.resume(id)
    assert (going.id, going.state) == (id, JobState.QUEUED)
    assert rig.provider.resume(id).id == id
    assert rig.remote_jobs() == 2
    first, second = (call.json for call in rig.stub.calls(CREATE))
    assert first == second
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.id == id
    rig.stub.finish(list(rig.stub.jobs)[1])
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_cancelling_a_resumed_job_stops_the_machine_that_runs(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.leave(JOB_ID, {"checkpoints/step-00000004/manifest.json": b"{}"})
    rig.stub.enter(hub_id(id), "ERROR")
    rig.provider.resume(id)
    assert rig.provider.cancel(id).state is JobState.CANCELLED
    assert [job["status"]["stage"] for job in rig.stub.jobs.values()] == ["ERROR", "CANCELED"]


@pytest.mark.parametrize("id", ["", "a", "a/b", "a/b/c/d", "../b/c", "a/b?c/d", "a/%2e/c"])
def test_a_name_that_is_none_of_a_job_reaches_nobody(rig: HubRig, id: str) -> None:
    for act in (rig.provider.retrieve, rig.provider.cancel, rig.provider.events, rig.provider.resume):
        with pytest.raises(NotFoundError):
            act(id)
    assert rig.calls() == 0


def test_an_answer_about_another_job_is_none(rig: HubRig) -> None:
    id, other = rig.start(), rig.start("another")
    rig.stub.set(hub_id(id), labels={"anytune-job": "another"})
    with pytest.raises(AmbiguousError, match="another job"):
        rig.provider.retrieve(id)
    assert rig.provider.retrieve(other).seen_job_id == "another"


@pytest.mark.parametrize("body", [{}, [], "x", {"id": ""}, {"id": "a"}, {"id": "a", "status": {}}, None])
def test_a_misshapen_answer_to_create_leaves_open_whether_there_is_a_job(rig: HubRig, body: Any) -> None:
    rig.stub.fail_next(CREATE, status=200, body=body, when="after")
    with pytest.raises(AmbiguousError):
        rig.start()
    assert rig.provider.find(JOB_ID) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"status": None},
        {"status": {"stage": None, "message": 5}},
        {"status": {"stage": {"deep": []}}},
        {"owner": {}},
        {"createdAt": "yesterday"},
        {"labels": []},
        {"labels": {"anytune-job": 5}},
        {"durations": {"runningSecs": "many"}, "status": {"stage": "ERROR"}},
        {"durations": [], "flavor": 7, "status": {"stage": "COMPLETED"}},
    ],
)
def test_a_misshapen_answer_about_a_job_ends_nothing(rig: HubRig, change: dict[str, Any]) -> None:
    id = rig.start()
    rig.finish(id)
    whole = {**rig.stub.jobs[hub_id(id)], "status": {"stage": "RUNNING"}, **change}
    rig.stub.fail_next(LOOK, status=200, body=whole)
    with suppress(AmbiguousError):
        assert not rig.provider.retrieve(id).state.is_terminal or "status" in change
    assert rig.provider.retrieve(id).state is JobState.SUCCEEDED


def test_an_account_without_credit_is_told_so(rig: HubRig) -> None:
    rig.stub.fail_next(CREATE, status=402, body={"error": "Pre-paid credit balance is insufficient"})
    with pytest.raises(QuotaError, match="insufficient"):
        rig.start()
