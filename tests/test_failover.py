"""`fallback` as a user meets it: real commands, OpenAI's and Together's stand-ins, and what each refusal leads to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anytune.schema.job import JobState
from tests.soak.work import FIREWORKS, OPENAI, TOGETHER, Desk, Said, laid_out
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

pytestmark = pytest.mark.engine
SUBMIT = ("submit", "-y", "--json")
FALLBACK = """\
models: {together: Qwen/Qwen3.5-9B}
fallback: [together]
overrides: {together: {training: {epochs: 1}}}
"""


@dataclass
class Sides:
    """Hold the two services and the desk of a user of both."""

    openai: OpenAIStub
    together: TogetherStub
    desk: Desk

    def typed(self, *line: str) -> Said:
        return self.desk.typed(*line)

    def policy(self, **told: object) -> None:
        at = {"openai": self.openai.base_url, "together": self.together.base_url}
        profiles = {name: {"base_url": url} for name, url in at.items()}
        (self.desk.folder / "anytune.yaml").write_text(json.dumps({"profiles": profiles, **told}))

    def where(self) -> tuple[int, int]:
        return len(self.openai.census()["jobs"]), len(self.together.census()["jobs"])


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    monkeypatch.setenv(TOGETHER.variable, TOGETHER.key)
    with OpenAIStub(key=OPENAI.key) as openai, TogetherStub(key=TOGETHER.key) as together:
        desk = laid_out(tmp_path / "work", OPENAI, openai.origin, topic="failover", more=FALLBACK)
        made = Sides(openai, together, desk)
        made.policy()
        yield made


def job_of(said: Said) -> dict[str, Any]:
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)["job"]
    return found


def closed(sides: Sides) -> None:
    said = {"error": {"message": "not any more", "type": "invalid_request_error", "code": "training_not_available"}}
    sides.openai.fail_next("POST */fine_tuning/jobs", status=403, body=said)


def out_of_money(sides: Sides) -> None:
    said = {"error": {"message": "no credit", "type": "insufficient_quota", "code": "insufficient_quota"}}
    sides.openai.fail_next("POST */fine_tuning/jobs", status=429, body=said)


def model_gone(sides: Sides) -> None:
    said = {"error": {"message": "no such model", "type": "invalid_request_error", "param": "model",
                      "code": "model_not_available"}}  # fmt: skip
    sides.openai.fail_next("POST */fine_tuning/jobs", status=400, body=said)


def away(sides: Sides) -> None:
    profiles = {"openai": {"base_url": "http://127.0.0.1:9/v1"}, "together": {"base_url": sides.together.base_url}}
    (sides.desk.folder / "anytune.yaml").write_text(json.dumps({"profiles": profiles}))


REASONS: tuple[tuple[Callable[[Sides], None], str], ...] = (
    (closed, "not any more"),
    (out_of_money, "no credit"),
    (model_gone, "no such model"),
    (away, "ConnectError"),
)


@pytest.mark.parametrize(("happens", "told"), REASONS, ids=[happens.__name__ for happens, _ in REASONS])
def test_each_refusal_of_the_providers_own_leads_on_and_is_told_shown_and_recorded(
    sides: Sides, happens: Callable[[Sides], None], told: str
) -> None:
    happens(sides)
    said = sides.typed(*SUBMIT)
    job = job_of(said)
    assert (job["provider"], sides.where()) == ("together", (0, 1))
    (reason,) = job["instead_of"]
    assert told in reason
    assert "going on to together" in said.err
    assert f"instead of  {reason.split(':')[0]}" in sides.typed("show", job["id"]).out
    left = {each.provider: each for each in sides.desk.jobs()}["openai"]
    assert (left.state, left.remote) == (JobState.FAILED, None)
    decided = json.loads(sides.typed("audit", job["id"], "--json").out)["decisions"]
    assert [(one["provider"], one["answer"]) for one in decided] == [("together", "allowed")]


def test_each_step_has_a_plan_of_its_own(sides: Sides) -> None:
    closed(sides)
    said = sides.typed(*SUBMIT)
    assert "sft of gpt-4.1-mini-2025-04-14 at openai" in said.err
    assert "sft of Qwen/Qwen3.5-9B at together" in said.err
    assert "$4.00" in said.err, "Together's least charge"
    request = next(call for call in sides.together.calls("POST /v1/fine-tunes"))
    assert json.loads(request.body)["n_epochs"] == 1


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"policy": {"budget_usd": 2}}, "the project's budget is $2.00"),
        ({"budget": {"month": "2 USD"}}, "so $2.00 is left, and this may cost up to $4.00"),
        ({"policy": {"residency": "eu"}}, ""),
        ({"policy": {"providers": ["openai"]}}, "allows only openai"),
    ],
)
def test_what_the_next_one_may_not_is_refused_and_nothing_goes_there(
    sides: Sides, policy: dict[str, object], said: str
) -> None:
    sides.policy(**policy)
    closed(sides)
    answer = sides.typed("submit", "-y")
    assert answer.code == 3
    assert said in " ".join(answer.err.split())
    assert sides.together.calls() == []
    assert sides.where() == (0, 0)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"policy": {"providers": ["openai", "fireworks"]}}, "allows only fireworks, openai"),
        ({"policy": {"budget_usd": 2}}, "the project's budget is $2.00"),
        ({"budget": {"month": "2 USD"}}, "so $2.00 is left"),
    ],
)
def test_a_fallback_that_may_not_have_the_job_is_passed_over_for_the_next(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, policy: dict[str, object], said: str
) -> None:
    monkeypatch.setenv(FIREWORKS.variable, FIREWORKS.key)
    with FireworksStub(key=FIREWORKS.key) as third:
        at = {"openai": sides.openai.base_url, "together": sides.together.base_url, "fireworks": third.base_url}
        told = {"profiles": {name: {"base_url": url} for name, url in at.items()}, **policy}
        (sides.desk.folder / "anytune.yaml").write_text(json.dumps(told))
        job_file = sides.desk.folder / "finetune.yaml"
        longer = job_file.read_text().replace("[together]", "[together, fireworks]")
        job_file.write_text(longer.replace("models: {", "models: {fireworks: qwen3p5-9b, "))
        closed(sides)
        job = job_of(sides.typed(*SUBMIT))
        assert (job["provider"], sides.where(), len(third.jobs)) == ("fireworks", (0, 0), 1)
        first, second = job["instead_of"]
        assert "not any more" in first
        assert second.startswith("together: ")
        assert said in second
    assert sides.together.calls() == []


def test_a_job_that_its_own_provider_may_not_have_is_offered_to_nobody_else(sides: Sides) -> None:
    sides.policy(policy={"providers": ["together"]})
    assert sides.typed("submit", "-y").code == 3
    assert sides.where() == (0, 0)


def test_a_budget_of_the_month_counts_both_steps_together_and_not_what_was_refused(sides: Sides) -> None:
    sides.policy(budget={"month": "6 USD"})
    closed(sides)
    job_of(sides.typed(*SUBMIT))
    spent = json.loads(sides.typed("spend", "--json").out)
    assert {row["provider"]: float(row["usd"]) for row in spent["rows"]} == {"openai": 0.0, "together": 4.0}


def test_no_fault_of_the_data_the_settings_or_the_key_leads_on(sides: Sides) -> None:
    said = {"error": {"message": "bad file", "type": "invalid_request_error", "param": "training_file",
                      "code": "invalid_file"}}  # fmt: skip
    sides.openai.fail_next("POST */fine_tuning/jobs", status=400, body=said)
    assert sides.typed("submit", "-y").code == 3
    sides.openai.fail_next("POST */fine_tuning/jobs", status=401, body={"error": {"message": "no such key"}})
    assert sides.typed("submit", "-y", "--set", "name=another").code == 6
    assert sides.typed("submit", "-y", "--set", "name=third", "--set", "training.epochs=60").code == 3
    (sides.desk.folder / "train.jsonl").write_text("{}\n")
    assert sides.typed("submit", "-y", "--set", "name=fourth").code == 3
    assert sides.together.calls() == []


def test_an_answer_that_was_lost_is_looked_for_and_leads_nowhere_else(sides: Sides) -> None:
    sides.openai.drop_next("POST */fine_tuning/jobs", when="after")
    assert job_of(sides.typed(*SUBMIT))["provider"] == "openai"
    assert sides.where() == (1, 0)
