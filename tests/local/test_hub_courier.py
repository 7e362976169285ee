"""What goes on around the worker on a rented machine, with a worker of a few lines: this needs no torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anytune.local import hub_job
from anytune.local.elsewhere import courier as couriers
from anytune.local.training.checkpoint import json_writer
from anytune.local.training.checkpoint import save as save_checkpoint
from anytune.schema.job import JobState
from tests.providers._hub import JOB_ID, HubRig, running
from tests.stubs.hub import REPOSITORY, HubStub

WORKER = """
import json, signal, sys, time
from pathlib import Path
folder = Path({folder!r})
def event(n, said):
    line = json.dumps({{"id": f"event-{{n:07d}}", "at": "2026-11-01T00:00:00Z", "message": said}})
    with (folder / "events.jsonl").open("a") as out:
        out.write(line + chr(10))
event(1, "the worker has started")
{body}
"""
SUCCEED = """
(folder / "model").mkdir()
(folder / "model" / "adapter_config.json").write_text("{}")
(folder / "model" / "adapter_model.safetensors").write_bytes(b"weights")
(folder / "result.json").write_text(json.dumps({"state": "succeeded", "trained_tokens": 7}))
event(2, "succeeded")
"""
WAIT = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\ntime.sleep(60)"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        served.life = ("RUNNING",)
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


@pytest.fixture
def machine(rig: HubRig, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Create the sample job, and be the machine that carries it out with a worker of these lines."""
    monkeypatch.setattr(couriers, "LOOK_EVERY", 0.02)

    def carry_out(body: str, **environment: str) -> int:
        if not rig.stub.jobs:
            file = rig.provider.upload(rig.file())
            asked = rig.provider.render(
                rig.spec(training={"max_length": 64}), job_id=JOB_ID, training_file=file, validation_file=None
            )
            rig.provider.create(asked)
        job = list(rig.stub.jobs.values())[-1]
        for name, value in {**job["environment"], **rig.stub.secrets[job["id"]], **environment}.items():
            monkeypatch.setenv(name, value)

        def command(_: str, folder: str) -> list[str]:
            return [sys.executable, "-c", WORKER.format(folder=folder, body=body)]

        monkeypatch.setattr(couriers, "worker_command", command)
        status = hub_job.main()
        rig.stub.enter(job["id"], "COMPLETED" if status == 0 else "ERROR", message=f"exit status {status}")
        return status

    return carry_out


def files(stub: HubStub) -> dict[str, bytes]:
    found = stub.shelf.repositories[REPOSITORY].files
    return {path.removeprefix(f"jobs/{JOB_ID}/"): content for path, content in found.items() if path.startswith("jobs")}


def remote_id(stub: HubStub) -> str:
    return f"{stub.namespace}/{next(iter(stub.jobs))}/{JOB_ID}"


def test_all_that_a_run_leaves_comes_in_one_commit(rig: HubRig, machine: Callable[..., int]) -> None:
    assert machine(SUCCEED) == 0
    left = files(rig.stub)
    model = {"model/adapter_config.json", "model/adapter_model.safetensors"}
    assert set(left) == {"events.jsonl", "result.json", "log", *model}
    assert rig.stub.shelf.repositories[REPOSITORY].commits[-1] == f"{JOB_ID}: succeeded"
    job = rig.provider.retrieve(remote_id(rig.stub))
    assert (job.state, job.trained_tokens) == (JobState.SUCCEEDED, 7)
    assert [event.message for event in rig.provider.events(job.id)] == ["the worker has started", "succeeded"]


def test_the_last_commit_is_tried_until_it_is_done(
    rig: HubRig, machine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(couriers.time, "sleep", lambda _: None)
    machine_calls = rig.stub.calls
    rig.stub.fail_next("POST */commit/main", status=503, times=2, skip=2)
    rig.stub.fail_next("POST */commit/main", status=412, skip=2)
    rig.stub.drop_next("POST */commit/main", when="after", skip=2)
    assert machine(SUCCEED) == 0
    assert len([c for c in machine_calls("POST */commit/main") if c.status == 503]) == 2
    assert rig.provider.retrieve(remote_id(rig.stub)).state is JobState.SUCCEEDED


def test_a_run_is_stopped_before_its_machine_is_taken_away(rig: HubRig, machine: Callable[..., int]) -> None:
    started = time.monotonic()
    assert machine(WAIT, ANYTUNE_SECONDS="2") == couriers.INTERRUPTED
    assert time.monotonic() - started < 30
    assert "result.json" not in files(rig.stub)


def test_a_stopped_run_leaves_a_checkpoint_that_the_next_one_finds(rig: HubRig, machine: Callable[..., int]) -> None:
    for step in (3, 8):
        body = f"""
sys.path.insert(0, {str(Path(hub_job.__file__).parents[2])!r})
from anytune.local.training.checkpoint import json_writer, newest, save
found = newest(folder / "checkpoints")
event(2, f"found {{found.step if found else None}}")
save(folder / "checkpoints", {step}, {{"weights.json": json_writer({step})}})
sys.exit(143)
"""
        assert machine(body) == couriers.INTERRUPTED
        kept = {path for path in files(rig.stub) if path.startswith("checkpoints/")}
        assert kept == {f"checkpoints/step-{step:08d}/{name}" for name in ("manifest.json", "weights.json")}
        job = rig.provider.retrieve(remote_id(rig.stub))
        assert job.state is JobState.PAUSED
        assert f"from step {step}" in (job.error or "")
        rig.provider.resume(job.id)
    said = [json.loads(line)["message"] for line in files(rig.stub)["events.jsonl"].splitlines()]
    assert [message for message in said if message.startswith("found")] == ["found None", "found 3"]
    assert machine(SUCCEED) == 0
    assert [path for path in files(rig.stub) if path.startswith("checkpoints/")] == []


def test_while_it_trains_events_and_checkpoints_come_at_most_so_often(
    rig: HubRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(couriers.time, "monotonic", lambda: now[0])
    rig.provider.upload(rig.file())
    run = couriers.Run(tmp_path / "runs" / JOB_ID)
    run.path.mkdir(parents=True)
    courier = couriers.Courier(hub_job.HubShelf(rig.provider._hub, REPOSITORY, JOB_ID), run, hub_job.PACE)
    commits = rig.stub.shelf.repositories[REPOSITORY].commits
    before = len(commits)
    for second in range(0, 3600, 60):
        now[0] = second
        with (run.path / "events.jsonl").open("a") as events:
            events.write("{}\n")
        save_checkpoint(run.path / "checkpoints", second, {"weights.json": json_writer(second)})
        courier.keep_up()
    assert 25 <= len(commits) - before <= 34
    kept = [path for path in files(rig.stub) if path.endswith("manifest.json")]
    assert len(kept) == 1


def test_data_that_are_not_those_that_were_checked_are_not_trained_on(rig: HubRig, machine: Callable[..., int]) -> None:
    file = rig.file()
    rig.provider.upload(file)
    found = rig.stub.shelf.repositories[REPOSITORY]
    found.files[f"files/{file.sha256}.jsonl"] = b"other"
    upload, rig.provider.upload = rig.provider.upload, lambda _: f"file-{file.sha256}"  # type: ignore[method-assign]
    assert machine(SUCCEED) == 1
    rig.provider.upload = upload  # type: ignore[method-assign]
    job = rig.provider.retrieve(remote_id(rig.stub))
    assert (job.state, job.cause) == (JobState.FAILED, "user")
    assert "not the file that was checked" in (job.error or "")


def test_a_hub_that_cannot_be_reached_ends_an_attempt_and_no_job(
    rig: HubRig, machine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(couriers.time, "sleep", lambda _: None)
    rig.stub.leave(JOB_ID, {"checkpoints/step-00000003/manifest.json": b"{}"})
    rig.stub.drop_next("POST */paths-info/main", times=100, skip=2)
    assert machine(SUCCEED) == 1
    assert rig.provider.retrieve(remote_id(rig.stub)).state is JobState.PAUSED


def test_a_worker_that_dies_without_a_word_is_told_of(rig: HubRig, machine: Callable[..., int]) -> None:
    assert machine("import os; os.kill(os.getpid(), 9)") == 1
    job = rig.provider.retrieve(remote_id(rig.stub))
    assert (job.state, job.cause) == (JobState.FAILED, "provider")
    assert "memory" in (job.error or "")


def test_a_job_that_is_started_again_after_its_success_does_nothing(rig: HubRig, machine: Callable[..., int]) -> None:
    assert machine(SUCCEED) == 0
    before = files(rig.stub)
    assert machine("raise SystemExit(3)") == 0
    assert files(rig.stub) == before


def test_the_key_is_in_nothing_that_a_run_leaves(rig: HubRig, machine: Callable[..., int]) -> None:
    machine(SUCCEED)
    whole = b"".join(rig.stub.shelf.repositories[REPOSITORY].files.values())
    assert rig.key.encode() not in whole
