"""A job of Hugging Face Jobs, really run: its command as a process that has only what the stand-in sends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.local.hf_jobs import HFJobsProvider
from anytune.local.provider import LocalProvider
from anytune.providers.base import Profile
from anytune.schema.job import JobState, RemoteJob
from anytune.schema.model import TunedModel
from tests.local.conftest import data_file, ended, new_provider, request, spec, wait
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


def start(provider: HFJobsProvider, chats: Path, job_id: str) -> RemoteJob:
    file = provider.upload(data_file(chats))
    return provider.create(provider.render(spec(MODEL, chats), job_id=job_id, training_file=file, validation_file=file))


def watched(provider: HFJobsProvider, job: RemoteJob, machines: Machines, seconds: float = 120) -> RemoteJob:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = provider.retrieve(job.id)
        if now.state.is_terminal or now.state is JobState.PAUSED:
            return now
        time.sleep(0.2)
    raise AssertionError(machines.output(job.id.split("/")[1])[-3000:])


def test_a_job_at_the_hub_makes_the_very_adapter_that_a_local_run_makes(
    stub: HubStub, machines: Machines, provider: HFJobsProvider, base: Path, chats: Path, tmp_path: Path
) -> None:
    job = start(provider, chats, "there")
    done = watched(provider, job, machines)
    assert done.state is JobState.SUCCEEDED, (done, machines.output(job.id.split("/")[1])[-3000:])
    tuned = TunedModel(provider="hf-jobs", base=MODEL, name=done.model or "", job_id="there")
    provider.export(tuned, to="adapter", out=tmp_path / "there")

    local: LocalProvider = new_provider(tmp_path / "home")
    local.create(request(local, base, chats, "here"))
    here = wait(local, "here", ended)
    name = "adapter_model.safetensors"
    assert (tmp_path / "there" / name).read_bytes() == (Path(here.model or "") / name).read_bytes()
    assert done.trained_tokens == here.trained_tokens
    assert [event.message for event in provider.events(job.id)][-1] == "succeeded"
    assert not [path for path in stub.shelf.repositories[REPOSITORY].files if "checkpoints" in path]
