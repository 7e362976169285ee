"""A job of Ray's, really run: its entry point as a process where nothing but its package lies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.local.provider import LocalProvider
from anytune.local.ray_jobs import RayProvider
from anytune.providers.base import Profile
from anytune.schema.cluster import Cluster
from anytune.schema.job import JobState, RemoteJob
from anytune.schema.model import TunedModel
from tests.local.conftest import data_file, ended, new_provider, spec, wait
from tests.local.conftest import request as rendered
from tests.stubs._ray_node import Nodes
from tests.stubs.ray import RayStub

pytestmark = pytest.mark.local
ADAPTER = "adapter_model.safetensors"


@pytest.fixture
def stub() -> Iterator[RayStub]:
    with RayStub() as served:
        yield served


@pytest.fixture
def nodes(stub: RayStub, tmp_path: Path) -> Iterator[Nodes]:
    started = Nodes(stub, tmp_path / "nodes")
    yield started
    started.end()


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    made = tmp_path / "depot"
    made.mkdir()
    return made


def at(stub: RayStub, folder: str) -> RayProvider:
    cluster = Cluster(folder=folder, python=sys.executable, gpus=0)
    return RayProvider(
        Profile(name="ray", home=Path("/nowhere"), key=lambda: stub.key, base_url=stub.base_url, cluster=cluster)
    )


def asked(provider: RayProvider, base: Path, data: Path, job_id: str, **training: Any) -> dict[str, Any]:
    file = provider.upload(data_file(data))
    wanted = spec(base, data, **training)
    body = provider.render(wanted, job_id=job_id, training_file=file, validation_file=file)
    body["run"]["checkpoint_seconds"] = 0
    return body


def watched(provider: RayProvider, job: RemoteJob, seconds: float = 120) -> RemoteJob:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = provider.retrieve(job.id)
        if now.state.is_terminal or now.state is JobState.PAUSED:
            return now
        time.sleep(0.2)
    raise AssertionError(f"not in {seconds} s: {provider.retrieve(job.id)}")


def until(true: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s")


def steps_told(provider: RayProvider, job: RemoteJob) -> bool:
    return any(event.data.get("step") for event in provider.events(job.id))


def adapter(provider: RayProvider, base: Path, job: RemoteJob, out: Path) -> bytes:
    tuned = TunedModel(provider="ray", base=str(base), name=job.model or "", job_id=job.id)
    provider.export(tuned, to="adapter", out=out)
    return (out / ADAPTER).read_bytes()


def trained_here(base: Path, data: Path, home: Path, **training: Any) -> tuple[RemoteJob, bytes]:
    local: LocalProvider = new_provider(home)
    local.create(rendered(local, base, data, "here", **training))
    here = wait(local, "here", ended)
    return here, (Path(here.model or "") / ADAPTER).read_bytes()


@pytest.mark.parametrize("kind", ["a folder", "an address"])
def test_a_job_on_the_cluster_makes_the_very_adapter_that_a_local_run_makes(
    stub: RayStub, nodes: Nodes, depot: Path, base: Path, chats: Path, tmp_path: Path, kind: str
) -> None:
    provider = at(stub, str(depot) if kind == "a folder" else f"file://{depot}")
    job = provider.create(asked(provider, base, chats, "there"))
    done = watched(provider, job)
    assert done.state is JobState.SUCCEEDED, (done, nodes.output("there")[-3000:])
    here, weights = trained_here(base, chats, tmp_path / "home")
    assert adapter(provider, base, done, tmp_path / "there") == weights
    assert done.trained_tokens == here.trained_tokens
    assert [event.message for event in provider.events(job.id)][-1] == "succeeded"
    assert not list(depot.rglob("checkpoints/*/*"))


def test_a_job_whose_node_went_away_goes_on_where_it_was_and_ends_with_the_same_bits(
    stub: RayStub, nodes: Nodes, depot: Path, base: Path, chats: Path, tmp_path: Path
) -> None:
    provider = at(stub, str(depot))
    job = provider.create(asked(provider, base, chats, "parted", epochs=12))
    until(lambda: steps_told(provider, job))
    nodes.processes["parted"].terminate()
    paused = watched(provider, job)
    assert paused.state is JobState.PAUSED, (paused, nodes.output("parted")[-3000:])
    assert "resume goes on from step" in (paused.error or "")

    assert provider.resume(job.id).id == job.id
    done = watched(provider, job)
    assert done.state is JobState.SUCCEEDED, done
    assert sorted(stub.jobs) == ["parted", "parted--again-2"]
    assert any(event.message.startswith("going on from step") for event in provider.events(job.id))
    assert (
        adapter(provider, base, done, tmp_path / "there") == trained_here(base, chats, tmp_path / "home", epochs=12)[1]
    )


def test_a_job_that_is_stopped_is_cancelled_and_its_last_step_is_kept(
    stub: RayStub, nodes: Nodes, depot: Path, base: Path, chats: Path
) -> None:
    provider = at(stub, str(depot))
    job = provider.create(asked(provider, base, chats, "stopped", epochs=100))
    until(lambda: steps_told(provider, job))
    assert provider.cancel(job.id).state in (JobState.CANCELLING, JobState.CANCELLED)
    assert watched(provider, job).state is JobState.CANCELLED
    assert provider.cancel(job.id).state is JobState.CANCELLED
    assert list(depot.glob("jobs/stopped/checkpoints/step-*/manifest.json"))


def test_a_machine_without_the_model_says_so_in_one_line(stub: RayStub, nodes: Nodes, depot: Path, chats: Path) -> None:
    provider = at(stub, str(depot))
    job = provider.create(asked(provider, Path("/models/nowhere"), chats, "lost"))
    done = watched(provider, job)
    assert (done.state, done.cause) == (JobState.FAILED, "user")
    assert "has no model folder /models/nowhere" in (done.error or "")
