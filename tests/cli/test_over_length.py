"""A plan tells what becomes of examples over max_length, and refuses where they are to be refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Type

BASE = Path(__file__).parents[2] / "fixtures" / "tiny-base"


def chat(number: int, words: int = 1) -> str:
    asked = {"role": "user", "content": f"Tide {number}? " + "a " * words}
    return json.dumps({"messages": [asked, {"role": "assistant", "content": f"High at {number}."}]})


@pytest.fixture(autouse=True)
def job(folder: Path) -> None:
    """Make a job on a file with three long examples among twenty."""
    lines = [chat(n, words=150 if n < 3 else 1) for n in range(20)]
    (folder / "chats.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "finetune.yaml").write_text(
        f"name: tides\nprovider: local\nmodel: {BASE}\ndata: {{train: chats.jsonl}}\ntraining: {{max_length: 128}}\n"
    )


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (None, "3 examples over max_length 128: left out, about "),
        ("truncate_left", "3 examples over max_length 128: the oldest before the answer is cut off, about "),
        ("truncate_right", "3 examples over max_length 128: the end is cut off, about "),
    ],
)
def test_a_plan_tells_how_many_examples_and_tokens_are_lost(anytune: Type, policy: str | None, said: str) -> None:
    how = ["--set", f"training.over_length={policy}"] if policy else []
    plan = anytune("plan", *how)
    assert said in " ".join(plan.out.split())
    if policy != "truncate_right":  # by which whole answers are lost, which is an error in the data
        assert plan.code == 0


def test_a_plan_is_refused_where_longer_examples_are_to_be(anytune: Type) -> None:
    plan = anytune("plan", "--json", "--set", "training.over_length=refuse")
    assert plan.code == 3
    why = "chats.jsonl has 3 examples longer than max_length 128, and training.over_length is refuse"
    assert any(reason.startswith(why) for reason in plan.document["refused"])


def test_a_hosted_provider_takes_no_such_choice(anytune: Type) -> None:
    asked = ("plan", "--provider", "openai", "--model", "gpt-4.1-mini-2025-04-14", "--json")
    plan = anytune(*asked, "--set", "training.over_length=drop", "--set", "training.max_length=auto")
    (reason,) = [why for why in plan.document["refused"] if "over_length" in why]
    assert "leave it on auto" in reason


def test_questions_and_scored_pairs_lose_no_end(anytune: Type) -> None:
    said = anytune("plan", "--set", "method=reward", "--set", "training.over_length=truncate_right")
    assert said.code == 2
    assert "half an answer is not what was preferred: take refuse, drop or truncate_left" in said.err
