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


@pytest.mark.parametrize(
    ("profile", "residency", "ok"),
    [
        ({"region": "EU_FRANKFURT_1"}, "eu", True),
        ({"region": "EU_FRANKFURT_1"}, "eea", True),
        ({"region": "EU_ICELAND_2"}, "eea", True),
        ({"region": "EU_ICELAND_2"}, "eu", False),
        ({"region": "EU_LONDON_1"}, "eu", False),
        ({"region": "US_IOWA_1"}, "us", True),
        ({"region": "US_IOWA_1"}, "eu", False),
        ({}, "eu", False),
        ({"base_url": "https://elsewhere.example"}, "us", False),
    ],
)
def test_a_residency_is_promised_for_the_place_that_the_job_names(
    tmp_path: Path, profile: dict[str, Any], residency: str, ok: bool
) -> None:
    assert planned(tuner(tmp_path, **profile), tmp_path, residency=residency).ok is ok


def test_the_place_that_was_promised_stands_in_the_request(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path, region="EU_PARIS_1"), tmp_path, residency="eu")
    assert plan.request is not None
    assert plan.request["body"]["region"] == "EU_PARIS_1"
    assert plan.capabilities.regions == ("eu", "eea")
    assert plan.capabilities.region_note == "EU_PARIS_1, as the profile says"


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
        ("{scheduler: cosine}", "no field"),
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
    assert tuner(tmp_path, environment).profile("fireworks").account == "from-the-environment"
    assert tuner(tmp_path, environment, account="mine").profile("fireworks").account == "mine"
    assert tuner(tmp_path).profile("fireworks").account is None
    assert tuner(tmp_path, environment).profile("openai").account is None


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
