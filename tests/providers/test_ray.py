"""Ray Jobs beyond the contract: what goes to the cluster, what never does, and what a job is found to be."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytune.config import ProfileSettings, Settings
from anytune.errors import (
    AmbiguousError,
    CredentialError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.local.elsewhere.depot import opened
from anytune.local.ray_jobs import RayProvider
from anytune.local.ray_jobs.answer import STATES
from anytune.providers.base import Profile, Reused
from anytune.schema.cluster import Cluster
from anytune.schema.job import JobState
from anytune.schema.model import TunedModel
from anytune.testing.rig import no_key
from anytune.tuner import Tuner
from tests.providers._ray import JOB_ID, LIST, LOOK, MODEL, PACKAGE, SUBMIT, RayRig, running
from tests.stubs._http import Trap
from tests.stubs.ray import RayStub


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[RayStub]:
    with running(tmp_path) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: RayStub) -> RayRig:
    return RayRig(tmp_path, stub)


def elsewhere(url: str, key: Any = lambda: "token") -> RayProvider:
    return RayProvider(Profile(name="ray", home=Path("/nowhere"), key=key, base_url=url, cluster=Cluster(folder="/d")))


def test_the_package_holds_our_program_and_is_sent_once(rig: RayRig) -> None:
    rig.start()
    rig.start("another-0000000001")
    (sent,) = rig.stub.calls(PACKAGE)
    names = zipfile.ZipFile(io.BytesIO(sent.body)).namelist()
    assert {"anytune/local/ray_job.py", "anytune/local/worker.py", "anytune/catalog/ray.yaml"} <= set(names)
    rig.stub.forget()
    rig.start("another-0000000002")
    assert rig.calls(PACKAGE) == 2


def test_the_entry_point_names_its_interpreter_and_reserves_the_gpus(tmp_path: Path, stub: RayStub) -> None:
    rig = RayRig(tmp_path, stub, cluster={"python": "/opt/my env/bin/python", "gpus": 4})
    body = rig.request()["job"]
    assert body["entrypoint"] == "exec '/opt/my env/bin/python' -m anytune.local.ray_job"
    assert body["entrypoint_num_gpus"] == 4
    assert "entrypoint_num_gpus" not in RayRig(tmp_path, stub, cluster={"gpus": 0}).request()["job"]


def test_a_repeated_create_returns_the_job_that_is_there(rig: RayRig) -> None:
    request = rig.request()
    one = rig.provider.create(request)
    rig.stub.life = ("RUNNING",) * 5
    two = rig.provider.create(request)
    assert (one.id, two.id) == (JOB_ID, JOB_ID)
    assert two.seen_job_id == JOB_ID
    assert rig.remote_jobs() == 1


def test_another_job_of_the_same_name_is_refused(rig: RayRig) -> None:
    rig.start()
    with pytest.raises(RejectedError, match="another one"):
        rig.start(training={"epochs": 7})
    assert rig.remote_jobs() == 1


@pytest.mark.parametrize("pattern", ["GET /api/packages/*", PACKAGE])
def test_what_fails_before_the_submit_started_no_job(rig: RayRig, pattern: str) -> None:
    rig.stub.fail_next(pattern, status=503)
    with pytest.raises(UnavailableError):
        rig.start()
    assert rig.remote_jobs() == 0


@pytest.mark.parametrize("url", ["http://ray.example:8265", "ftp://ray.example", "http://10.0.0.7:8265"])
def test_a_cluster_elsewhere_is_reached_by_tls_alone(url: str) -> None:
    provider = elsewhere(url)
    assert any("in the clear" in problem for problem in provider.capabilities(MODEL).problems)
    with pytest.raises(UsageError, match="in the clear"):
        provider.retrieve(JOB_ID)


def test_a_cluster_elsewhere_is_not_used_without_a_token() -> None:
    provider = elsewhere("https://ray.example", no_key)
    assert provider.capabilities(MODEL).problems == ()
    with pytest.raises(CredentialError, match="with a token alone"):
        provider.retrieve(JOB_ID)


def test_a_cluster_on_this_machine_may_want_no_token(tmp_path: Path, stub: RayStub) -> None:
    stub.authorised = False
    rig = RayRig(tmp_path, stub, key=no_key)
    rig.start()
    assert all("authorization" not in call.headers for call in stub.calls())


def test_where_files_lie_must_be_said(tmp_path: Path, stub: RayStub) -> None:
    provider = RayProvider(Profile(name="ray", home=tmp_path, key=lambda: stub.key, base_url=stub.base_url))
    assert any("cluster.folder is not set" in problem for problem in provider.capabilities(MODEL).problems)
    with pytest.raises(UsageError, match=r"cluster\.folder is not set"):
        provider.upload(RayRig(tmp_path, stub).file())


def test_a_depot_that_is_not_mounted_is_told(tmp_path: Path, stub: RayStub) -> None:
    rig = RayRig(tmp_path, stub, cluster={"folder": str(tmp_path / "nowhere")})
    with pytest.raises(UsageError, match="there is no folder"):
        rig.provider.upload(rig.file())


@pytest.mark.parametrize("region", [None, "us"])
def test_data_that_must_stay_in_a_region_go_to_no_cluster_that_is_not_known_to_be_there(
    rig: RayRig, tmp_path: Path, region: str | None
) -> None:
    profile = ProfileSettings(
        base_url=rig.stub.base_url, region=region, cluster=Cluster(folder=str(rig.stub.depot), gpus=0)
    )
    tuner = Tuner(settings=Settings(home=tmp_path / "home", profiles={"ray": profile}), environment={})
    rig.file()
    job = tmp_path / "finetune.yaml"
    told = f"name: tides\nprovider: ray\nmodel: {MODEL}\ndata: {{train: train.jsonl, residency: eu}}\n"
    job.write_text(told)
    assert any("data.residency is eu" in why for why in tuner.plan(tuner.read(job)).refused)
    job.write_text(told.replace("residency: eu", "residency: local"))
    assert any("may not leave this machine" in why for why in tuner.plan(tuner.read(job)).refused)
    stated = Settings(home=tmp_path / "home", profiles={"ray": profile.model_copy(update={"region": "eu"})})
    job.write_text(told)
    assert Tuner(settings=stated, environment={}).plan(tuner.read(job)).ok
    assert rig.calls() == 0


def test_what_a_job_cost_is_its_machines_time(tmp_path: Path, stub: RayStub) -> None:
    rig = RayRig(tmp_path, stub, cluster={"usd_per_hour": "36"}, hours=2.0)
    price = rig.provider.capabilities(MODEL).price
    assert price is not None
    assert (price.per_hour, price.hours) == (Decimal(36), Decimal(2))
    rig.finish(rig.start())
    job = stub.jobs[JOB_ID]
    seconds = (job["end_time"] - job["start_time"]) // 1000
    assert rig.provider.retrieve(JOB_ID).cost == Decimal(seconds) / 100
    assert rig.request()["job"]["runtime_env"]["env_vars"]["ANYTUNE_SECONDS"] == "7200"


def test_each_word_of_rays_has_its_state(rig: RayRig) -> None:
    for number, (word, state) in enumerate(STATES.items()):
        if word in ("SUCCEEDED", "FAILED"):
            continue
        job_id = rig.start(f"words-{number:010d}")
        rig.stub.life = (word,)
        rig.stub.enter(job_id, word)
        assert rig.provider.retrieve(job_id).state is state


def test_a_failure_before_the_trainer_came_to_a_word_is_told_by_the_log(rig: RayRig) -> None:
    job_id = rig.start()
    said = "/bin/sh: 1: exec: /opt/nowhere/python: not found"
    rig.stub.logs[job_id] = f"Running entrypoint for job {job_id}\n{said}\n"
    rig.stub.enter(job_id, "FAILED", message=f"Job entrypoint command failed with exit code 127, logs:\n{said}\n")
    job = rig.provider.retrieve(job_id)
    assert (job.state, job.cause) == (JobState.FAILED, "provider")
    assert said in (job.error or "")
    assert [event.message for event in rig.provider.events(job_id)][-1] == said


def test_what_the_trainer_wrote_counts_more_than_how_its_process_ended(rig: RayRig) -> None:
    job_id = rig.start()
    rig.finish(job_id)
    rig.stub.enter(job_id, "STOPPED")
    assert rig.provider.retrieve(job_id).state is JobState.SUCCEEDED
    failed = {"state": "failed", "cause": "user", "error": "out of memory", "fix": "take a smaller batch"}
    rig.stub.leave(job_id, {"result.json": json.dumps(failed).encode()})
    job = rig.provider.retrieve(job_id)
    assert (job.state, job.cause, job.error) == (JobState.FAILED, "user", "out of memory; take a smaller batch")


def paused(rig: RayRig) -> str:
    job_id = rig.start()
    rig.stub.enter(job_id, "FAILED", message="The node of the job died")
    steps = {f"checkpoints/step-0000000{n}/manifest.json": b"{}" for n in (3, 8)}
    rig.stub.leave(job_id, {"events.jsonl": b"", **steps})
    return job_id


def test_a_job_whose_node_died_is_resumed_by_one_more_attempt(rig: RayRig) -> None:
    job_id = paused(rig)
    assert "resume goes on from step 8" in (rig.provider.retrieve(job_id).error or "")
    rig.stub.life = ("RUNNING",)
    assert rig.provider.resume(job_id).id == job_id
    assert rig.provider.resume(job_id).state is JobState.RUNNING
    assert sorted(rig.stub.jobs) == [job_id, f"{job_id}--again-2"]
    rig.finish(f"{job_id}--again-2")
    found = rig.provider.find(job_id)
    assert found is not None
    assert (found.id, found.state, found.seen_job_id) == (job_id, JobState.SUCCEEDED, job_id)


def test_a_job_that_a_new_head_has_forgotten_is_known_by_its_files(rig: RayRig) -> None:
    job_id = paused(rig)
    rig.stub.forget()
    assert rig.provider.retrieve(job_id).state is JobState.PAUSED
    rig.provider.resume(job_id)
    assert list(rig.stub.jobs) == [job_id]
    rig.finish(job_id)
    rig.stub.forget()
    assert rig.provider.retrieve(job_id).state is JobState.SUCCEEDED
    assert [event.message for event in rig.provider.events(job_id)][-1] == "succeeded"


def test_a_404_that_is_not_rays_own_proves_nothing(rig: RayRig) -> None:
    rig.start()
    rig.stub.fail_next(LOOK, status=404, body=b"<h1>Not found</h1>", times=2)
    for act in (rig.provider.retrieve, rig.provider.find):
        with pytest.raises(AmbiguousError):
            act(JOB_ID)


@pytest.mark.parametrize("pattern", [PACKAGE, SUBMIT, LOOK, LIST])
def test_a_redirect_carries_neither_token_nor_code_away(rig: RayRig, pattern: str) -> None:
    with Trap() as trap:
        rig.stub.redirect_next(pattern, to=trap.origin)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.retrieve(rig.start())
            rig.provider.retrieve_many([JOB_ID])
        assert trap.calls() == []


def test_the_token_lies_nowhere(rig: RayRig) -> None:
    rig.finish(rig.start())
    kept = b"".join(path.read_bytes() for path in Path(str(rig.stub.depot)).rglob("*") if path.is_file())
    assert rig.key.encode() not in kept
    assert all(rig.key.encode() not in call.body for call in rig.stub.calls())


@pytest.mark.parametrize("folder", ["shared", "./shared", "s3:bucket"])
def test_a_depot_is_a_whole_path_or_an_address(folder: str) -> None:
    with pytest.raises(ValueError, match="whole path"):
        Cluster(folder=folder)


def test_a_depot_of_a_kind_that_is_not_installed_is_told(rig: RayRig, tmp_path: Path) -> None:
    depot = opened("nokind://bucket/anytune", provider="ray")
    with pytest.raises(UsageError, match="nokind://"):
        depot.read("x")


@pytest.mark.parametrize("kind", ["a folder", "an address"])
def test_data_lie_in_the_depot_once_and_a_damaged_copy_in_a_folder_is_mended(
    rig: RayRig, tmp_path: Path, stub: RayStub, kind: str
) -> None:
    address = {"folder": f"file://{stub.depot}"} if kind == "an address" else {}
    provider = RayRig(tmp_path, stub, cluster=address).provider
    file = rig.file()
    first, second = provider.upload(file), provider.upload(file)
    assert (isinstance(first, Reused), isinstance(second, Reused)) == (False, True)
    place = Path(str(stub.depot)) / "files" / f"{file.sha256}.jsonl"
    assert place.read_bytes() == file.path.read_bytes()
    place.write_bytes(b"x" * file.bytes)
    assert isinstance(provider.upload(file), Reused) is (kind == "an address")


def test_the_adapter_comes_home_whole_and_nothing_that_may_be_a_pickle(rig: RayRig, tmp_path: Path) -> None:
    job_id = rig.start()
    rig.finish(job_id)
    name = rig.provider.retrieve(job_id).model or ""
    tuned = TunedModel(provider="ray", base=MODEL, name=name, job_id=job_id)
    manifest = rig.provider.export(tuned, to="adapter", out=tmp_path / "out")
    assert set(manifest["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    with pytest.raises(RejectedError, match="not here to be merged"):
        rig.provider.export(tuned, to="merged", out=tmp_path / "merged")
    rig.stub.leave(job_id, {"model/extra.pt": b"pickle"})
    with pytest.raises(RejectedError, match=r"extra\.pt"):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "more")
    gone = tuned.model_copy(update={"name": "/elsewhere/jobs/x/model"})
    with pytest.raises(NotFoundError):
        rig.provider.export(gone, to="adapter", out=tmp_path / "gone")
