"""Fireworks as a user meets it: planned offline, sent where the profile says, followed to a model on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.config import ProfileSettings, Settings
from anytune.errors import CredentialError
from anytune.schema.job import JobState
from anytune.schema.plan import Plan
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.providers._fireworks import running
from tests.stubs.fireworks import ACCOUNT, FireworksStub

JOB = """\
name: sums
provider: fireworks
model: qwen3p5-9b
data: {{train: train.jsonl, residency: {residency}}}
training: {training}
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


def tuner(folder: Path, environment: dict[str, str] | None = None, **profile: Any) -> Tuner:
    profiles = {"fireworks": ProfileSettings(**profile)} if profile else {}
    settings = Settings(home=folder / "home", profiles=profiles)
    return Tuner(settings=settings, environment=environment or {}, clock=FakeClock())


def planned(here: Tuner, folder: Path, *, residency: str = "any", training: str = "{epochs: 1}") -> Plan:
    sample_file(folder)
    path = folder / "finetune.yaml"
    path.write_text(JOB.format(residency=residency, training=training))
    return here.plan(here.read(path))


def test_a_plan_needs_neither_key_nor_account_nor_network(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path), tmp_path)
    assert plan.ok, plan.refused
    assert plan.cost.expected is not None
    assert plan.request is not None
    assert plan.request["body"]["outputModel"] == "at-job-id"


@pytest.mark.parametrize("profile", [{}, {"region": "EU_FRANKFURT_1"}, {"base_url": "https://elsewhere.example"}])
def test_no_residency_is_promised_since_nobody_says_where_a_dataset_is_kept(
    tmp_path: Path, profile: dict[str, Any]
) -> None:
    (reason,) = planned(tuner(tmp_path, **profile), tmp_path, residency="eu").refused
    assert "where fireworks keeps the data is unknown" in reason


def test_the_place_where_the_job_is_to_run_stands_in_the_request(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path, region="EU_PARIS_1"), tmp_path)
    assert plan.request is not None
    assert plan.request["body"]["region"] == "EU_PARIS_1"


def test_a_region_that_is_none_of_the_providers_is_refused(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path, region="eu"), tmp_path)
    assert not plan.ok
    assert any("EU_FRANKFURT_1" in reason or "takes EU_" in reason for reason in plan.refused)


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ("{lora: null}", "not documented"),
        ("{lora: {rank: 8, alpha: 16}}", "no field"),
        ("{seed: 7}", "no field"),
        ("{scheduler: cosine}", "not documented"),
        ("{warmup_ratio: 0.1}", "in steps"),
        ("{weight_decay: 0}", "the least that fireworks takes"),
        ("{max_length: 8}", "the least that fireworks takes is 16"),
        ("{learning_rate_multiplier: 2}", "set learning_rate"),
        ("{micro_batch_size: 2}", "set batch_size"),
    ],
)
def test_what_a_managed_job_cannot_honour_is_refused_with_the_reason(
    tmp_path: Path, training: str, reason: str
) -> None:
    plan = planned(tuner(tmp_path), tmp_path, training=training)
    assert len(plan.refused) == 1
    assert reason in plan.refused[0]


def test_a_missing_key_is_told_by_the_name_of_its_variable(tmp_path: Path) -> None:
    here = tuner(tmp_path)
    with pytest.raises(CredentialError, match="FIREWORKS_API_KEY is not set"):
        here.submit(planned(here, tmp_path))
    assert list(here.store.list()) == []


def test_the_account_comes_from_the_profile_or_the_environment(tmp_path: Path) -> None:
    environment = {"FIREWORKS_ACCOUNT_ID": "from-the-environment"}
    assert tuner(tmp_path, environment).reach.profile("fireworks").account == "from-the-environment"
    assert tuner(tmp_path, environment, account="mine").reach.profile("fireworks").account == "mine"
    assert tuner(tmp_path).reach.profile("fireworks").account is None
    assert tuner(tmp_path, environment).reach.profile("openai").account is None


def test_a_job_is_submitted_followed_and_brought_home(tmp_path: Path, stub: FireworksStub) -> None:
    here = tuner(tmp_path, {"FIREWORKS_API_KEY": stub.key}, base_url=stub.base_url, region="EU_HELSINKI_1")
    job = here.submit(planned(here, tmp_path))
    *_, ended = here.wait(job.id)
    assert ended.state is JobState.SUCCEEDED
    assert str(ended.cost) == "2.5"
    assert here.model(job.id).name == f"accounts/{ACCOUNT}/models/at-{job.id}"
    assert next(event.message for event in here.events(job.id)) == "the job was created"
    manifest = here.export(job.id, to="adapter", out=tmp_path / "adapter")
    assert manifest["job_id"] == job.id
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert {remote["region"] for remote in stub.jobs.values()} == {"EU_HELSINKI_1"}
