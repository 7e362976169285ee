"""A job's whole life at Hugging Face, through the façade: submitted, out of time, resumed, brought home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.config import ProfileSettings, Settings
from anytune.errors import QuotaError, RefusedError
from anytune.schema.job import JobState
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.providers._hub import CREATE, JOBS, MODEL, hub_id, running
from tests.stubs.hub import STUB_KEY, WEIGHTS, HubStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def tuner(tmp_path: Path, stub: HubStub) -> Tuner:
    profile = ProfileSettings(base_url=stub.base_url, flavor="a10g-small", hours=2)
    settings = Settings(home=tmp_path / "home", profiles={"hf-jobs": profile})
    return Tuner(settings=settings, environment={"HF_TOKEN": STUB_KEY}, clock=FakeClock())


def submit(tuner: Tuner, folder: Path, *, budget: int = 2) -> str:
    sample_file(folder)
    (folder / "finetune.yaml").write_text(
        f"name: tides\nprovider: hf-jobs\nmodel: {MODEL}\ndata: {{train: train.jsonl}}\nbudget: {{usd: {budget}}}\n"
    )
    plan = tuner.plan(tuner.read(folder / "finetune.yaml"))
    assert plan.ok, plan.refused
    return tuner.submit(plan).id


def test_a_job_goes_from_its_file_to_the_adapter(tuner: Tuner, stub: HubStub, tmp_path: Path) -> None:
    id = submit(tuner, tmp_path)
    states = [job.state for job in tuner.wait(id)]
    assert states[-1] is JobState.SUCCEEDED
    assert [event.message for event in tuner.events(id)] == ["the worker has started", "succeeded"]
    assert str(tuner.job(id).cost) == "0.0333"
    tuner.export(id, to="adapter", out=tmp_path / "adapter")
    for name, content in WEIGHTS.items():
        assert (tmp_path / "adapter" / name).read_bytes() == content
    body = stub.calls(CREATE)[0].json
    assert (body["flavor"], body["timeoutSeconds"]) == ("a10g-small", 7200)


def test_a_job_that_ran_out_of_time_waits_for_resume_and_keeps_its_id(
    tuner: Tuner, stub: HubStub, tmp_path: Path
) -> None:
    stub.life = ("SCHEDULING", "RUNNING")
    id = submit(tuner, tmp_path, budget=5)
    first = tuner.refresh(id).remote
    assert first is not None
    stub.leave(id, {"checkpoints/step-00000005/manifest.json": b"{}"})
    stub.enter(hub_id(first.id), "ERROR", message="Job timeout")
    paused = list(tuner.wait(id))[-1]
    assert (paused.state, paused.error) == (JobState.PAUSED, "Job timeout; resume goes on from step 5")

    stub.drop_next(CREATE, when="after")  # even where its answer is lost, it is started once
    going = tuner.resume(id)
    assert going.state is JobState.RUNNING or going.state is JobState.QUEUED
    assert going.remote is not None
    assert going.remote.id == first.id
    assert len(stub.jobs) == 2
    stub.finish(list(stub.jobs)[1])
    assert list(tuner.wait(id))[-1].state is JobState.SUCCEEDED


def test_a_job_goes_on_only_within_its_budget(tuner: Tuner, stub: HubStub, tmp_path: Path) -> None:
    """Two hours at a dollar fit twice into no budget of two dollars."""
    stub.life = ("SCHEDULING", "RUNNING")
    id = submit(tuner, tmp_path, budget=2)
    first = tuner.refresh(id).remote
    assert first is not None
    stub.leave(id, {"checkpoints/step-00000005/manifest.json": b"{}"})
    stub.enter(hub_id(first.id), "ERROR", message="Job timeout")
    with pytest.raises(RefusedError) as caught:
        tuner.resume(id)
    assert "so far, and what hf-jobs quotes for going on" in caught.value.reasons[0]
    assert len(stub.jobs) == 1


def test_before_a_job_goes_on_the_hub_is_asked_for_the_price_of_one_more_machine_as_it_is_now(
    tuner: Tuner, stub: HubStub, tmp_path: Path
) -> None:
    stub.life = ("SCHEDULING", "RUNNING")
    id = submit(tuner, tmp_path, budget=5)
    first = tuner.refresh(id).remote
    assert first is not None
    stub.leave(id, {"checkpoints/step-00000005/manifest.json": b"{}"})
    stub.enter(hub_id(first.id), "ERROR", message="Job timeout")
    stub.prices["a10g-small"] = 50_000
    with pytest.raises(RefusedError) as caught:
        tuner.resume(id)
    assert "this may cost up to $6.0" in caught.value.reasons[0]
    assert len(stub.jobs) == 1


def test_polling_asks_once_for_the_job_and_once_for_its_events(tuner: Tuner, stub: HubStub, tmp_path: Path) -> None:
    stub.life = ("SCHEDULING", *("RUNNING",) * 20, "COMPLETED")
    id = submit(tuner, tmp_path)
    before = len(stub.calls())
    looks = len(list(tuner.wait(id)))
    asked = len(stub.calls(f"GET {JOBS}/*"))
    assert asked <= looks + 1
    assert len(stub.calls()) - before <= 3 * looks


def test_a_machine_that_has_become_dearer_than_the_budget_is_not_rented(
    tuner: Tuner, stub: HubStub, tmp_path: Path
) -> None:
    stub.prices["a10g-small"] = 17_000
    with pytest.raises(QuotaError, match="quotes"):
        submit(tuner, tmp_path)
    assert stub.calls(CREATE) == []
