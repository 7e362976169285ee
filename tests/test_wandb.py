"""A job is reported to Weights & Biases where a provider can and the data's rules let it, and no key is kept."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune import providers
from anytune.config import ProfileSettings, Settings
from anytune.errors import CredentialError, RefusedError, RejectedError
from anytune.schema.plan import Plan, Policy
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.models import a_model
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

STUBS: dict[str, Any] = {"openai": OpenAIStub, "together": TogetherStub, "fireworks": FireworksStub}
KEYS = {"openai": "OPENAI_API_KEY", "together": "TOGETHER_API_KEY", "fireworks": "FIREWORKS_API_KEY"}
CREATE = {"openai": "POST */fine_tuning/jobs", "together": "POST */fine-tunes", "fireworks": "POST */*Jobs"}
SECRET = "wandb-CANARY-0123456789abcdef0123456789"
RUN = "integrations: [{type: wandb, wandb: {project: tides, entity: crew}}]\n"
TOLD = {
    "openai": {"integrations": [{"type": "wandb", "wandb": {"project": "tides", "entity": "crew"}}]},
    "together": {"wandb_key": SECRET, "wandb_project_name": "tides", "wandb_entity": "crew"},
    "fireworks": {"wandbConfig": {"enabled": True, "apiKey": SECRET, "project": "tides", "entity": "crew"}},
}


@pytest.fixture(params=list(STUBS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stub(name: str) -> Iterator[Any]:
    with STUBS[name]() as running:
        yield running


def tuner(folder: Path, name: str, stub: Any, *, key: str | None = SECRET, **settings: Any) -> Tuner:
    environment = {KEYS[name]: stub.key} | ({"WANDB_API_KEY": key} if key else {})
    profiles = {name: ProfileSettings(base_url=stub.base_url)}
    made = Settings.model_validate({"home": folder / "home", "profiles": profiles, **settings})
    return Tuner(folder=folder, environment=environment, settings=made, clock=FakeClock())


def plan(at: Tuner, folder: Path, name: str, *more: str) -> Plan:
    sample_file(folder)
    lines = (f"name: tides\nprovider: {name}\nmodel: {a_model(name, 'sft')}\n", RUN, *more)
    (folder / "finetune.yaml").write_text("".join((*lines, "data: {train: train.jsonl}\n")))
    return at.plan(at.read(folder / "finetune.yaml"))


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_provider_is_told_where_to_report_and_the_key_stands_nowhere_here(
    name: str, stub: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = tuner(tmp_path, name, stub)
    made = plan(at, tmp_path, name)
    assert made.ok, made.refused
    assert any("Weights & Biases" in warning for warning in made.warnings)
    with caplog.at_level(logging.DEBUG):
        job = at.submit(made)
    at.refresh(job.id)
    (call,) = stub.calls(CREATE[name])
    assert {field: call.json[field] for field in TOLD[name]} == TOLD[name]
    assert SECRET not in caplog.text
    assert SECRET.encode() not in written(tmp_path)
    assert SECRET not in made.model_dump_json()


def test_a_provider_that_repeats_the_key_in_a_refusal_is_not_quoted_with_it(
    name: str, stub: Any, tmp_path: Path
) -> None:
    if name == "openai":
        pytest.skip("its account holds the key: it never gets one")
    at = tuner(tmp_path, name, stub)
    body = {"error": {"message": f"no such key: {SECRET} {'x' * 400}"}, "code": 3, "message": f"bad {SECRET}"}
    stub.fail_next(CREATE[name], status=400, body=body)
    with pytest.raises(RejectedError) as caught:
        at.submit(plan(at, tmp_path, name))
    assert SECRET not in str(caught.value)
    assert SECRET.encode() not in written(tmp_path)


BAD_END = {
    "openai": {"status": "failed", "error": {"code": "wandb", "message": "KEY", "param": None}},
    "together": {"status": "user_error"},
    "fireworks": {
        "state": "JOB_STATE_FAILED",
        "status": {"code": "INTERNAL", "message": "KEY"},
        "completedTime": "2026-11-28T00:00:00Z",
    },
}


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_provider_that_quotes_a_key_later_is_not_quoted_with_it(
    name: str, stub: Any, tmp_path: Path, place: str
) -> None:
    """The reason of a bad end, an event and a refusal hold the key that the provider got, its own or that of W&B."""
    quoted = stub.key if name == "openai" else SECRET  # OpenAI's account holds that of W&B
    at = tuner(tmp_path, name, stub)
    made = plan(at, tmp_path, name)
    job = at.submit(made)
    if place == "file":  # and another process looks
        at = tuner(tmp_path, name, stub, key=None)
        at.reach.keys.keep("WANDB_API_KEY", SECRET, to="file")
    (remote_id,) = stub.jobs
    if name == "together":
        stub.tell(remote_id, "job_user_error", f"wandb: login with {quoted} failed", level="error")
    elif name == "openai":
        stub._tell(stub.job(remote_id), f"wandb: login with {quoted} failed")
    said = json.dumps(BAD_END[name]).replace("KEY", f"login with {quoted} failed")
    stub.set(remote_id, **json.loads(said))
    ended = at.refresh(job.id)
    events = at.events(job.id)
    assert ended.error is not None
    assert "login with <key> failed" in ended.error
    assert any("login with <key> failed" in event.message for event in events)
    stub.fail_next("*", status=400, body={"error": {"message": f"bad {quoted}"}, "code": 3, "message": f"bad {quoted}"})
    with pytest.raises(RejectedError, match="bad <key>"):
        at.reach.provider(name).find(job.id)
    (tmp_path / "home" / "credentials").unlink(missing_ok=True)
    assert quoted.encode() not in written(tmp_path)


def test_a_missing_key_is_named_before_anything_is_sent(name: str, stub: Any, tmp_path: Path) -> None:
    at = tuner(tmp_path, name, stub, key=None)
    if name == "openai":  # whose account holds the key
        assert at.submit(plan(at, tmp_path, name)).remote is not None
        return
    with pytest.raises(CredentialError, match="WANDB_API_KEY"):
        at.submit(plan(at, tmp_path, name))
    assert stub.calls("POST *") == []


@pytest.mark.parametrize("rule", ["job", "project", "providers"])
def test_where_the_data_may_not_go_anywhere_nobody_else_is_told(
    name: str, stub: Any, tmp_path: Path, rule: str
) -> None:
    residency = {"job": "eu"}.get(rule, "any")
    policy = {"project": Policy(residency="eu"), "providers": Policy(providers=(name,))}.get(rule, Policy())
    at = tuner(tmp_path, name, stub, policy=policy)
    sample_file(tmp_path)
    (tmp_path / "finetune.yaml").write_text(
        f"name: tides\nprovider: {name}\nmodel: {a_model(name, 'sft')}\n{RUN}"
        f"data: {{train: train.jsonl, residency: {residency}}}\n"
    )
    made = at.plan(at.read(tmp_path / "finetune.yaml"))
    assert [reason for reason in made.refused if "wandb" in reason]
    with pytest.raises(RefusedError):
        at.submit(made)
    assert stub.calls() == []


def test_a_rule_that_came_after_the_plan_holds_too(name: str, stub: Any, tmp_path: Path) -> None:
    made = plan(tuner(tmp_path, name, stub), tmp_path, name)
    at = tuner(tmp_path, name, stub, policy=Policy(providers=(name,)))
    with pytest.raises(RefusedError, match="the data may not go") as caught:
        at.submit(made)
    assert any("not wandb" in reason for reason in caught.value.reasons)
    assert stub.calls() == []
    (link,) = at.audit()[0]
    assert link.decision.rules["integrations"] == "wandb"


def test_a_providers_list_that_names_it_lets_it_be_told(name: str, stub: Any, tmp_path: Path) -> None:
    at = tuner(tmp_path, name, stub, policy=Policy(providers=(name, "wandb")))
    assert plan(at, tmp_path, name).ok


def test_a_project_that_leads_a_provider_elsewhere_gets_no_key_of_weights_and_biases(
    name: str, stub: Any, tmp_path: Path
) -> None:
    profile = tuner(tmp_path, name, stub, keyless=(name,)).reach.profile(name)
    with pytest.raises(CredentialError, match="no key goes there"):
        profile.wandb_key()


@pytest.mark.parametrize("name", sorted(set(providers.BUILT_IN) - set(STUBS)))
def test_whoever_cannot_report_refuses_it_with_the_reason(name: str, tmp_path: Path) -> None:
    at = Tuner(folder=tmp_path, environment={}, settings=Settings(home=tmp_path / "home"), clock=FakeClock())
    made = plan(at, tmp_path, name)
    assert any(reason.startswith("integrations.wandb.project = tides: ") for reason in made.refused), made.refused


def test_another_project_there_is_another_job(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        at = tuner(tmp_path, "openai", stub)
        one = plan(at, tmp_path, "openai")
        (tmp_path / "finetune.yaml").write_text((tmp_path / "finetune.yaml").read_text().replace("tides,", "moons,"))
        assert at.plan(at.read(tmp_path / "finetune.yaml")).fingerprint != one.fingerprint


def test_togethers_own_log_does_not_show_the_key(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import together

    logging.getLogger("together").setLevel(logging.DEBUG)  # as TOGETHER_LOG=debug does
    handler = logging.StreamHandler()
    logging.getLogger("together").addHandler(handler)
    try:
        with TogetherStub() as stub:
            at = tuner(tmp_path, "together", stub)
            at.submit(plan(at, tmp_path, "together"))
    finally:
        logging.getLogger("together").removeHandler(handler)
        logging.getLogger("together").setLevel(logging.NOTSET)
    assert together.__version__
    told = capfd.readouterr().err
    assert "Request options" in told
    assert SECRET not in told
    assert json.dumps(dict(os.environ)).count(SECRET) == 0
