"""A job of OpenAI's is taken in for a model on this machine: each setting kept, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import UsageError
from anytune.recipe import TakenIn, take_in
from anytune.schema.spec import TuneSpec
from anytune.tuner import Tuner

JOB: dict[str, Any] = {
    "object": "fine_tuning.job",
    "id": "ftjob-abc",
    "created_at": 1764000000,
    "model": "gpt-4.1-mini-2025-04-14",
    "fine_tuned_model": "ft:gpt-4.1-mini:me::abc",
    "organization_id": "org-1",
    "status": "succeeded",
    "training_file": "file-train",
    "validation_file": None,
    "hyperparameters": {"n_epochs": 4, "batch_size": "auto", "learning_rate_multiplier": 1.8},
    "seed": 11,
    "user_provided_suffix": "tides",
    "trained_tokens": 1200,
    "method": {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 8, "learning_rate_multiplier": 1.8}},
    },
}
GRADERS: dict[str, Any] = {
    "same": {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    },
    "own": {"type": "python", "name": "my own", "source": "def grade(sample, item):\n    return 1.0\n"},
}


def taken(folder: Path, **changed: Any) -> tuple[TakenIn, TuneSpec]:
    (folder / "file-train.jsonl").write_text('{"messages": []}\n')
    (folder / "job.json").write_text(json.dumps({**JOB, **changed}))
    done = take_in(folder / "job.json", out=folder / "finetune.yaml", model="org/base", force=True)
    return done, Tuner(folder=folder).read(folder / "finetune.yaml")


def test_settings_and_data_are_those_of_the_job_and_the_rate_is_refused_by_name(tmp_path: Path) -> None:
    done, spec = taken(tmp_path)
    assert (spec.provider, spec.model, spec.method, spec.suffix) == ("local", "org/base", "sft", "tides")
    assert spec.data.train == tmp_path / "file-train.jsonl"
    assert (spec.training.epochs, spec.training.batch_size, spec.training.seed) == (4, 8, 11)
    (lost,) = done.lost
    assert (lost.path, lost.value) == ("learning_rate_multiplier", 1.8)
    assert {"id", "status", "fine_tuned_model"} <= set(done.passed_over)


def test_a_request_is_read_as_the_job_that_it_makes(tmp_path: Path) -> None:
    asked = {"model": "gpt-4.1-mini", "training_file": "file-train", "method": {"type": "dpo", "dpo": {}}}
    asked["method"]["dpo"] = {"hyperparameters": {"beta": 0.2}}  # type: ignore[index]
    (tmp_path / "file-train.jsonl").write_text("{}\n")
    (tmp_path / "ask.json").write_text(json.dumps(asked))
    take_in(tmp_path / "ask.json", out=tmp_path / "finetune.yaml", model="org/base")
    spec = Tuner(folder=tmp_path).read(tmp_path / "finetune.yaml")
    assert (spec.method, spec.training.beta) == ("dpo", 0.2)


def reinforced(grader: dict[str, Any]) -> dict[str, Any]:
    inner = {"grader": grader, "hyperparameters": {"n_epochs": 2, "reasoning_effort": "low"}}
    return {"type": "reinforcement", "reinforcement": inner}


def test_graders_become_rewards_with_the_weights_of_a_sum(tmp_path: Path) -> None:
    whole = {"type": "multi", "graders": GRADERS, "calculate_output": "0.25 * same + own"}
    done, spec = taken(tmp_path, method=reinforced(whole), hyperparameters=None)
    same, own = spec.rewards
    assert (same.type, same.weight, same.operation, same.reference) == ("string_check", 0.25, "eq", "{{item.answer}}")
    assert (own.type, own.weight, own.function) == ("python", 1.0, "my_own.py:grade")
    assert own.text == GRADERS["own"]["source"]
    assert [setting.path for setting in done.lost] == ["reasoning_effort"]
    from anytune.local.training.reward import Given, Rewards

    judge = Rewards([reward.model_dump(mode="json", exclude_none=True) for reward in spec.rewards])
    assert judge.of([Given("Oslo", {"answer": "Oslo"}, 1)])[0][0] == 1.25


@pytest.mark.parametrize(
    ("grader", "said"),
    [
        ({"type": "score_model", "model": "o3"}, "its grader is of type score_model: it asks a hosted model"),
        ({"type": "text_similarity"}, "its grader is of type text_similarity"),
        ({"type": "multi", "graders": GRADERS, "calculate_output": "same * own"}, "no such sum: 'same . own'"),
    ],
)
def test_a_grader_that_cannot_judge_here_is_refused_by_its_name(
    tmp_path: Path, grader: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        taken(tmp_path, method=reinforced(grader))


def test_data_that_are_not_here_and_a_model_that_is_not_said_are_told(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB))
    with pytest.raises(UsageError, match="are not trained here") as caught:
        take_in(tmp_path / "job.json", out=tmp_path / "x.yaml")
    assert "--model" in str(caught.value.fix)
    with pytest.raises(UsageError, match="its data are not here") as caught:
        take_in(tmp_path / "job.json", out=tmp_path / "x.yaml", model="org/base")
    assert "save OpenAI's file file-train beside it as file-train.jsonl" in str(caught.value.fix)
