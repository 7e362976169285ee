"""What a job at Hugging Face is asked to do, by which program, on which machine, and what the plan says of it."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import anytune
from anytune import catalog, planner
from anytune.errors import (
    UsageError,
)
from anytune.local.elsewhere.package import pack
from anytune.local.hf_jobs import HFJobsProvider
from anytune.local.hf_jobs import request as requests
from anytune.schema.plan import Policy
from tests.providers._hub import CREATE, JOB_ID, MODEL, PUT, HubRig, running
from tests.rigs import report_of
from tests.stubs.hub import REPOSITORY as NAME
from tests.stubs.hub import HubStub

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


def test_the_time_limit_and_the_machine_are_those_of_the_profile(tmp_path: Path, stub: HubStub) -> None:
    HubRig(tmp_path, stub, flavor="a10g-large", hours=0.5).start()
    HubRig(tmp_path, stub).start("another")
    bodies = [call.json for call in stub.calls(CREATE)]
    assert [(body["flavor"], body["timeoutSeconds"]) for body in bodies] == [("a10g-large", 1800), ("l4x1", 14400)]


def test_the_very_program_that_runs_here_is_sent_and_only_once(rig: HubRig) -> None:
    rig.start()
    rig.start("another")
    path, content = pack()
    assert pack() == (path, content)
    assert rig.stub.shelf.repositories[NAME].files[path] == content
    assert rig.calls(PUT) == 1
    assert {call.json["environment"]["ANYTUNE_CODE"] for call in rig.stub.calls(CREATE)} == {path}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        worker = archive.read("anytune/local/worker.py")
        assert not [name for name in archive.namelist() if not name.endswith((".py", ".yaml"))]
    assert worker == (Path(anytune.__file__).parent / "local" / "worker.py").read_bytes()


def test_the_packages_of_the_job_are_those_that_the_project_states() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    terminal = {"typer>=0.15,<1", "rich>=13.7,<16"}  # nobody looks at a terminal there
    wanted = {*project["dependencies"], *extras["local"], *extras["hf-jobs"]} - terminal
    assert set(requests.PACKAGES) == wanted


def test_the_flavors_are_among_those_of_the_library() -> None:
    from huggingface_hub import JobHardware

    known = catalog.load("hf-jobs").flavors
    assert set(known) <= {flavor.value for flavor in JobHardware}
    assert requests.FLAVOR in known


def test_the_data_are_checked_as_for_the_same_trainer_here() -> None:
    from anytune.data.check.rules import RULES as rules

    methods: tuple[Any, ...] = ("sft", "dpo", "rft")
    differ = [r.code for r in rules.values() for m in methods if r.level("hf-jobs", m) != r.level("local", m)]
    assert differ == []


def test_a_folder_of_this_machine_is_no_model_of_the_hub(rig: HubRig, tmp_path: Path) -> None:
    for model in (str(tmp_path), "no-owner", "./x"):
        assert "models of the Hub" in rig.provider.capabilities(model).problems[0]
    assert rig.provider.capabilities(MODEL).problems == ()


def test_a_machine_that_there_is_none_of_is_told_with_the_nearest(tmp_path: Path, stub: HubStub) -> None:
    (problem,) = HubRig(tmp_path, stub, flavor="a10g").provider.capabilities(MODEL).problems
    assert "a10g-small" in problem


def plan(rig: HubRig, **changes: Any) -> Any:
    spec = rig.spec(**changes)
    known = rig.provider.capabilities(spec.model)
    return planner.make(spec, report_of(rig.file()), known, policy=Policy(), today=known.as_of)


def test_the_plan_counts_with_the_whole_time_limit(tmp_path: Path, stub: HubStub) -> None:
    cost = plan(HubRig(tmp_path, stub, flavor="a100-large", hours=2.0)).cost
    assert [str(amount) for amount in (cost.low, cost.expected, cost.high)] == ["0.04", "5.00", "5.00"]
    assert cost.as_of is not None
    refused = plan(HubRig(tmp_path, stub), budget={"usd": "3"}).refused
    assert refused
    assert "up to $3.20" in refused[0]
    assert plan(HubRig(tmp_path, stub, hours=1.0), budget={"usd": "3"}).ok


@pytest.mark.parametrize("residency", ["eu", "us", "local"])
def test_no_residency_is_promised(rig: HubRig, residency: str) -> None:
    spec = rig.spec()
    data = {**spec.data.model_dump(mode="json", exclude_unset=True), "residency": residency}
    assert plan(rig, data=data).refused


def test_the_run_is_the_one_that_the_local_trainer_would_be_given(rig: HubRig) -> None:
    from anytune.local.provider import LocalProvider

    ours = rig.request()["run"]
    local = LocalProvider(rig.profile()).render(rig.spec(), job_id=JOB_ID, training_file="file-1", validation_file=None)
    differ = {key for key in {*ours, *local} if ours.get(key) != local.get(key)}
    assert differ == {"checkpoint_seconds", "event_seconds", "training"} | ({"offline"} if local["offline"] else set())
    assert {key for key in ours["training"] if ours["training"][key] != local["training"][key]} == {"max_length"}


def test_a_job_id_that_no_label_can_carry_is_told(rig: HubRig) -> None:
    for job_id in ("x" * 101, "a b", "-x"):
        with pytest.raises(UsageError):
            rig.start(job_id)
    assert rig.calls() == 0


def test_the_program_that_starts_the_job_takes_no_other_code_than_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code.zip"
    code.write_bytes(b"something else")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(code))
    monkeypatch.setenv("ANYTUNE_REPO", NAME)
    monkeypatch.setenv("ANYTUNE_CODE", f"code/{hashlib.sha256(b'the code').hexdigest()}.zip")
    with pytest.raises(SystemExit, match="not what it was named after"):
        exec(compile(requests.START, "start", "exec"), {})


def test_it_is_among_the_providers_without_its_library() -> None:
    from anytune import providers

    assert "hf-jobs" in providers.names()
    code = f"""
import sys
sys.modules["huggingface_hub"] = None  # as where it is not installed
from pathlib import Path
from anytune import providers
from anytune.providers.base import Profile
at = providers.load("hf-jobs", Profile(name="hf-jobs", home=Path("/nowhere"), key=str))
print(type(at).__name__, at.capabilities({MODEL!r}).problems)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"{HFJobsProvider.__name__} ()\n", done.stderr
