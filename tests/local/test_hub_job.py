"""A job of Hugging Face Jobs, really run: its command as a process that has only what the stand-in sends it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.local.hf_jobs import HFJobsProvider
from anytune.local.provider import LocalProvider
from anytune.providers.base import Profile
from anytune.schema.job import JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.training import Method
from tests.local.conftest import data_file, ended, new_provider, spec, wait
from tests.local.conftest import request as rendered
from tests.providers._hub import MODEL, running
from tests.stubs._hub_container import Machines
from tests.stubs.hub import NAMESPACE, REPOSITORY, HubStub

pytestmark = pytest.mark.local


@pytest.fixture
def stub(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        served.models[MODEL] = base
        yield served


@pytest.fixture
def machines(stub: HubStub, tmp_path: Path) -> Iterator[Machines]:
    started = Machines(stub, tmp_path / "machines")
    yield started
    started.end()


@pytest.fixture
def provider(stub: HubStub, tmp_path: Path) -> HFJobsProvider:
    profile = Profile(
        name="hf-jobs", home=tmp_path, key=lambda: stub.key, base_url=stub.base_url, account=NAMESPACE, hours=1.0
    )
    return HFJobsProvider(profile)


def start(provider: HFJobsProvider, data: Path, job_id: str, *, method: Method = "sft", **training: Any) -> RemoteJob:
    file = provider.upload(data_file(data))
    wanted = spec(MODEL, data, method=method, **training)
    return provider.create(provider.render(wanted, job_id=job_id, training_file=file, validation_file=file))


def watched(provider: HFJobsProvider, job: RemoteJob, machines: Machines, seconds: float = 120) -> RemoteJob:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = provider.retrieve(job.id)
        if now.state.is_terminal or now.state is JobState.PAUSED:
            return now
        time.sleep(0.2)
    raise AssertionError(machines.output(job.id.split("/")[1])[-3000:])


def until(true: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s")


@pytest.mark.parametrize(("method", "data"), [("sft", "chats"), ("dpo", "pairs")])
def test_a_job_at_the_hub_makes_the_very_adapter_that_a_local_run_makes(
    stub: HubStub,
    machines: Machines,
    provider: HFJobsProvider,
    base: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    method: Method,
    data: str,
) -> None:
    lines: Path = request.getfixturevalue(data)
    job = start(provider, lines, "there", method=method)
    done = watched(provider, job, machines)
    assert done.state is JobState.SUCCEEDED, (done, machines.output(job.id.split("/")[1])[-3000:])
    tuned = TunedModel(provider="hf-jobs", base=MODEL, name=done.model or "", job_id="there")
    provider.export(tuned, to="adapter", out=tmp_path / "there")

    local: LocalProvider = new_provider(tmp_path / "home")
    local.create(rendered(local, base, lines, "here", method=method))
    here = wait(local, "here", ended)
    name = "adapter_model.safetensors"
    assert (tmp_path / "there" / name).read_bytes() == (Path(here.model or "") / name).read_bytes()
    assert done.trained_tokens == here.trained_tokens
    assert [event.message for event in provider.events(job.id)][-1] == "succeeded"
    assert not [path for path in stub.shelf.repositories[REPOSITORY].files if "checkpoints" in path]


def test_a_job_that_was_stopped_goes_on_where_it_was_and_ends_with_the_same_bits(
    stub: HubStub, machines: Machines, provider: HFJobsProvider, base: Path, chats: Path, tmp_path: Path
) -> None:
    job = start(provider, chats, "stopped", epochs=12)
    told = until(lambda: machines.found("events.jsonl"))
    until(lambda: '"step": 1' in told.read_text())
    machines.stop(job.id.split("/")[1])
    paused = watched(provider, job, machines)
    assert paused.state is JobState.PAUSED, (paused, machines.output(job.id.split("/")[1])[-3000:])

    going = provider.resume(job.id)
    assert going.id == job.id
    assert going.state is JobState.RUNNING
    done = watched(provider, job, machines)
    assert done.state is JobState.SUCCEEDED, done
    assert len(stub.jobs) == 2
    said = [event.message for event in provider.events(job.id)]
    assert [message for message in said if message.startswith("going on from step")]
    tuned = TunedModel(provider="hf-jobs", base=MODEL, name=done.model or "", job_id="stopped")
    provider.export(tuned, to="adapter", out=tmp_path / "there")

    local = new_provider(tmp_path / "home")
    local.create(rendered(local, base, chats, "here", epochs=12))
    here = wait(local, "here", ended)
    name = "adapter_model.safetensors"
    assert (tmp_path / "there" / name).read_bytes() == (Path(here.model or "") / name).read_bytes()


def test_a_worker_that_is_killed_is_told_of(machines: Machines, provider: HFJobsProvider, chats: Path) -> None:
    job = start(provider, chats, "killed", epochs=100)
    pid = until(lambda: machines.found("worker.pid"))
    os.kill(int(until(pid.read_text)), signal.SIGKILL)
    done = watched(provider, job, machines)
    assert done.state is JobState.FAILED
    assert "killed" in (done.error or "")
