"""Replicate as a user meets it: planned offline, sent, followed to a model on this machine."""

from __future__ import annotations

import json
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
from tests.providers._replicate import CREATE, MODEL, running
from tests.stubs.replicate import ReplicateStub

JOB = """\
name: sums
provider: replicate
model: {model}
data: {{train: {train}, residency: {residency}}}
training: {training}
{more}
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


def tuner(folder: Path, environment: dict[str, str] | None = None, **profile: Any) -> Tuner:
    profiles = {"replicate": ProfileSettings(**profile)} if profile else {}
    settings = Settings(home=folder / "home", profiles=profiles)
    return Tuner(settings=settings, environment=environment or {}, clock=FakeClock())


def planned(here: Tuner, folder: Path, **changes: str) -> Plan:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f" It is {n + n}."} for n in range(12)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = {"model": MODEL, "train": "prompts.jsonl", "residency": "any", "training": "{epochs: 1}", "more": ""}
    path = folder / "finetune.yaml"
    path.write_text(JOB.format(**{**told, **changes}))
    return here.plan(here.read(path))


def test_a_plan_needs_neither_key_nor_network_and_says_that_no_price_is_known(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path), tmp_path)
    assert plan.ok, plan.refused
    assert plan.cost.expected is None
    assert "no price known" in plan.cost.basis
    assert any("no price is known" in warning for warning in plan.warnings)
    assert plan.request is not None
    assert plan.request["model"]["name"] == "at-job-id"


def test_a_budget_refuses_what_has_no_price(tmp_path: Path) -> None:
    (reason,) = planned(tuner(tmp_path), tmp_path, more="budget: {usd: 20}").refused
    assert "the price is not known" in reason


def test_no_residency_is_promised(tmp_path: Path) -> None:
    (reason,) = planned(tuner(tmp_path), tmp_path, residency="eu").refused
    assert "where replicate keeps the data is unknown" in reason


def test_chats_are_refused_where_a_trainer_reads_prompts(tmp_path: Path) -> None:
    sample_file(tmp_path)
    (reason,) = planned(tuner(tmp_path), tmp_path, train="train.jsonl").refused
    assert "anytune convert --to prompt-completion" in reason
    own = {"meta/llama-2-7b": {"data": "train_data", "fields": {"training.epochs": "num_train_epochs"}}}
    assert planned(tuner(tmp_path, trainers=own), tmp_path, train="train.jsonl").ok


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ("{lora: null}", "more than one value"),
        ("{lora: {rank: 8, target_modules: [q_proj]}}", "more than one value"),
        ("{quantize: nf4}", "more than one value"),
        ("{scheduler: cosine}", "no input of meta/llama-2-7b is known to take it"),
        ("{warmup_ratio: 0.1}", "no input"),
        ("{max_length: 512}", "no input"),
        ("{learning_rate_multiplier: 2}", "no input"),
    ],
)
def test_what_the_trainer_has_no_input_for_is_refused_with_the_reason(
    tmp_path: Path, training: str, reason: str
) -> None:
    (told,) = planned(tuner(tmp_path), tmp_path, training=training).refused
    assert reason in told


def test_preferences_are_refused(tmp_path: Path) -> None:
    assert any("by sft only" in reason for reason in planned(tuner(tmp_path), tmp_path, more="method: dpo").refused)


def test_an_unlisted_trainer_is_refused_until_the_profile_describes_it(tmp_path: Path) -> None:
    model = f"somebody/flan-trainer:{'ab' * 32}"
    refused = planned(tuner(tmp_path), tmp_path, model=model)
    (reason,) = refused.refused
    assert "profiles.replicate.trainers can say it" in reason
    assert refused.settings == ()
    (reason,) = planned(tuner(tmp_path), tmp_path, model="meta/llama-2-7").refused
    assert "as owner/name:version (did you mean meta/llama-2-7b?)" in reason
    told = {"somebody/flan-trainer": {"data": "rows", "fields": {"training.epochs": "passes"}}}
    plan = planned(tuner(tmp_path, trainers=told), tmp_path, model=model)
    assert plan.ok, plan.refused
    assert plan.request is not None
    assert plan.request["input"] == {"passes": 1, "rows": "<file id>"}


def test_what_a_trainer_is_given_besides_is_told_and_makes_another_job(tmp_path: Path) -> None:
    plan = planned(tuner(tmp_path), tmp_path)
    assert any("run_validation" in warning for warning in plan.warnings)
    own = {"meta/llama-2-7b": {"data": "train_data", "fields": {"training.epochs": "num_train_epochs"}}}
    other = planned(tuner(tmp_path, trainers=own), tmp_path)
    assert other.fingerprint != plan.fingerprint
    assert other.fingerprint == planned(tuner(tmp_path, trainers=own), tmp_path).fingerprint
    sized = {"meta/llama-2-7b": {**own["meta/llama-2-7b"], "input": {"pack_sequences": True}}}
    told = planned(tuner(tmp_path, trainers=sized), tmp_path)
    assert told.fingerprint != other.fingerprint
    assert any('{"pack_sequences": true}' in warning for warning in told.warnings)


def test_a_missing_key_is_told_by_the_name_of_its_variable(tmp_path: Path) -> None:
    here = tuner(tmp_path)
    with pytest.raises(CredentialError, match="REPLICATE_API_TOKEN is not set"):
        here.submit(planned(here, tmp_path))
    assert list(here.store.list()) == []


def test_a_lost_answer_pays_once(tmp_path: Path, stub: ReplicateStub) -> None:
    here = tuner(tmp_path, {"REPLICATE_API_TOKEN": stub.key}, base_url=stub.base_url)
    stub.drop_next(CREATE, when="after")
    job = here.submit(planned(here, tmp_path))
    assert job.remote is not None
    assert list(stub.jobs) == [job.remote.id]
    assert len(stub.calls(CREATE)) == 1


def test_a_job_is_submitted_followed_and_brought_home(tmp_path: Path, stub: ReplicateStub) -> None:
    here = tuner(tmp_path, {"REPLICATE_API_TOKEN": stub.key}, base_url=stub.base_url)
    job = here.submit(planned(here, tmp_path))
    *_, ended = here.wait(job.id)
    assert ended.state is JobState.SUCCEEDED
    assert ended.cost is None
    assert here.model(job.id).name.startswith(f"stub-user/at-{job.id}:")
    told = [event.message for event in here.events(job.id)]
    assert told[0] == "the training was created"
    assert told[-1] == "the training ended as succeeded"
    manifest = here.export(job.id, to="adapter", out=tmp_path / "adapter")
    assert manifest["job_id"] == job.id
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
