"""The façade: a job file in, a model and its proof out, with every provider behind the same few calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import anytune
from anytune import providers
from anytune.config import ProfileSettings, Settings
from anytune.data.check import files
from anytune.errors import CredentialError, NotYetError, RefusedError, UsageError
from anytune.schema.job import JobState
from anytune.schema.plan import Plan
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner

JOB = "name: sums\nprovider: fake\nmodel: fake-1\ndata: {train: train.jsonl, test: test.jsonl}\n"


@pytest.fixture
def tuner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tuner:
    monkeypatch.setitem(providers.BUILT_IN, "fake", "anytune.testing.fake:FakeProvider")
    sample_file(tmp_path)
    sample_file(tmp_path, role="test", examples=11)
    (tmp_path / "finetune.yaml").write_text(JOB)
    return Tuner(
        settings=Settings(home=tmp_path / "home"),
        environment={"FAKE_API_KEY": "fake-key-1234567890"},
        clock=FakeClock(),
    )


def plan(tuner: Tuner, folder: Path) -> Plan:
    return tuner.plan(tuner.read(folder / "finetune.yaml"))


def test_a_job_file_becomes_a_model_and_a_report(tuner: Tuner, tmp_path: Path) -> None:
    job = tuner.submit(plan(tuner, tmp_path))
    *_, job = tuner.wait(job.id)
    assert job.state is JobState.SUCCEEDED
    report = tuner.evaluate("last")
    (metric,) = report.metrics
    assert (metric.base, metric.tuned, metric.gained) == (0.0, 1.0, 11)
    kept = json.loads((tmp_path / "home" / "evals" / f"{job.id}.json").read_text())
    assert kept["examples"] == 11


def test_a_plan_shows_the_very_request_and_needs_no_key(tuner: Tuner, tmp_path: Path) -> None:
    keyless = Tuner(settings=tuner.settings, environment={}, clock=FakeClock())
    made = plan(keyless, tmp_path)
    assert made.request == {
        "tag": "<job id>",
        "model": "fake-1",
        "suffix": None,
        "epochs": 3,
        "training_file": "<file id>",
        "validation_file": None,
    }


def test_a_split_keeps_prompts_apart_and_is_made_once(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "finetune.yaml").write_text(JOB.replace("test: test.jsonl", "split: 0.25"))
    first, second = plan(tuner, tmp_path), plan(tuner, tmp_path)
    assert first.fingerprint == second.fingerprint
    assert [file.role for file in first.files] == ["train", "validation"]
    assert sum(file.examples for file in first.files) == 12


MANY = """\
name: sums
provider: fake
models: {fake: fake-1, openai: gpt-4.1-mini-2025-04-14, together: Qwen/Qwen3.5-9B, fireworks: qwen3p5-9b}
data: {train: train.jsonl, DATA}
overrides:
  together: {data: {train: OTHER}}
"""


def surveyed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are read from now on, each as often as it is."""
    names: list[str] = []
    own = files._survey

    def noted(path: Path, *given: Any) -> Any:
        names.append(path.name)
        return own(path, *given)

    monkeypatch.setattr(files, "_survey", noted)
    return names


@pytest.mark.parametrize("data", ["test: test.jsonl", "split: 0.25", "test: none.jsonl"])
@pytest.mark.parametrize("other", ["train.jsonl", "test.jsonl"])
def test_plans_for_all_providers_read_what_they_share_once(
    tuner: Tuner, tmp_path: Path, data: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_file = tmp_path / "finetune.yaml"
    job_file.write_text(MANY.replace("DATA", data).replace("OTHER", other))
    read = surveyed(monkeypatch)
    plans = dict(tuner.plan_all(job_file))
    once = len(read)
    assert [name for name, made in plans.items() if isinstance(made, Plan)] == [
        "openai",
        "together",
        "fireworks",
        "fake",
    ]
    for name, made in plans.items():
        if isinstance(made, Plan):
            assert made == tuner.plan(tuner.read(job_file, provider=name)), name
    by_one = (len(read) - once) // 4
    assert once == by_one * (1 if other == "train.jsonl" else 2)


def test_plans_that_are_not_asked_for_read_nothing(
    tuner: Tuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "finetune.yaml").write_text(MANY.replace("DATA", "test: test.jsonl").replace("OTHER", "test.jsonl"))
    read = surveyed(monkeypatch)
    plans = tuner.plan_all(tmp_path / "finetune.yaml")
    assert read == []
    assert next(name for name, made in plans if isinstance(made, Plan)) == "openai"
    assert sorted(read) == ["test.jsonl", "train.jsonl"]


def test_missing_data_refuses_the_plan_and_names_the_file(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").unlink()
    refused = plan(tuner, tmp_path).refused
    assert any("train.jsonl" in reason for reason in refused)


def test_a_model_without_answers_yet_cannot_be_evaluated(tuner: Tuner, tmp_path: Path) -> None:
    tuner.submit(plan(tuner, tmp_path))
    with pytest.raises(NotYetError):
        tuner.evaluate("last")


def test_a_missing_key_is_told_before_anything_is_written_down(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "finetune.yaml").write_text(JOB.replace("fake-1", "Qwen/Qwen3.5-9B").replace("fake", "together"))
    with pytest.raises(CredentialError, match="TOGETHER_API_KEY is not set"):
        tuner.submit(plan(tuner, tmp_path))
    assert list(tuner.store.list()) == []


def test_what_was_trained_on_is_no_test(tuner: Tuner, tmp_path: Path) -> None:
    job = tuner.submit(plan(tuner, tmp_path))
    list(tuner.wait(job.id))
    with pytest.raises(RefusedError, match="it is not held out"):
        tuner.evaluate(job.id, test=tmp_path / "train.jsonl")


def test_no_test_data_is_said_with_the_way_to_give_some(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "finetune.yaml").write_text(JOB.replace(", test: test.jsonl", ""))
    job = tuner.submit(plan(tuner, tmp_path))
    list(tuner.wait(job.id))
    with pytest.raises(UsageError, match="no test data") as caught:
        tuner.evaluate(job.id)
    assert caught.value.fix is not None
    assert "--test FILE" in caught.value.fix


def test_an_unknown_provider_is_answered_with_the_nearest(tuner: Tuner, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tuner.plan(tuner.read(tmp_path / "finetune.yaml", provider="opnai", model="m"))
    assert caught.value.fix == "did you mean openai?"


def test_data_sent_to_another_host_is_in_an_unknown_region(tuner: Tuner, tmp_path: Path) -> None:
    (tmp_path / "finetune.yaml").write_text(
        JOB.replace("fake-1", "Qwen/Qwen3.5-9B")
        .replace("fake", "together")
        .replace("test: t", "residency: us, test: t")
    )
    assert plan(tuner, tmp_path).ok
    for profile, place in (({}, None), ({"region": "us"}, ("us",))):
        moved = ProfileSettings(base_url="https://elsewhere.example", **profile)
        there = tuner.settings.model_copy(update={"profiles": {"together": moved}})
        made = plan(Tuner(settings=there, environment={}, clock=FakeClock()), tmp_path)
        assert made.capabilities.regions == place
        assert made.ok is (place is not None)


def test_the_public_names_are_there_and_plan_is_a_function() -> None:
    assert dir(anytune) == sorted(anytune.__all__)  # a notebook offers them before the first use
    for name in anytune.__all__:
        assert getattr(anytune, name)
    assert callable(anytune.plan)
    with pytest.raises(AttributeError):
        _ = anytune.nothing  # type: ignore[attr-defined]


def test_what_a_provider_cannot_send_at_all_is_a_reason_of_the_plan(tuner: Tuner, tmp_path: Path) -> None:
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": f"What is {n} plus {n}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"{n + n}."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Who knows {n}?"}],
        }
        for n in range(12)
    ]
    for name, rows in (("train", pairs[:8]), ("held", pairs[8:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = "data: {train: train.jsonl, validation: held.jsonl}"
    (tmp_path / "finetune.yaml").write_text(f"name: s\nprovider: fireworks\nmodel: qwen3-8b\nmethod: dpo\n{data}\n")
    made = plan(tuner, tmp_path)
    wanted = "a dpo job at Fireworks takes no evaluation dataset: leave out data.validation and data.split"
    assert made.refused == (wanted,)
    assert made.request is None


def test_a_plan_tells_what_a_setting_becomes(tuner: Tuner, tmp_path: Path) -> None:
    job = JOB.replace("fake-1", "qwen3-8b").replace("fake", "fireworks") + "training: {max_length: 1000}\n"
    (tmp_path / "finetune.yaml").write_text(job)
    (setting,) = (found for found in plan(tuner, tmp_path).settings if found.path == "training.max_length")
    assert (setting.value, setting.to, setting.sent) == (1000, "maxContextLength", 992)
