"""The provider's own logic: files, folders and words; no torch and no worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from anytune.errors import (
    MissingExtraError,
    NotFoundError,
    RefusedError,
    RejectedError,
)
from anytune.local import processes
from anytune.local.runs import new_run, write_json
from anytune.providers.base import Estimates, Exports, Generates, Resumes
from anytune.schema.job import JobState
from anytune.schema.spec import REINFORCEMENT, every_setting
from anytune.schema.training import Training
from tests.local.conftest import CONFIG, chat, data_file, new_provider, spec, write_lines


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Make a folder that looks like a good model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **CONFIG}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "train.jsonl", [chat(n) for n in range(3)])


def test_it_is_all_that_a_provider_can_be(tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    for part in (Estimates, Generates, Exports, Resumes):
        assert isinstance(provider, part)


def test_importing_the_provider_imports_no_torch() -> None:
    code = (
        "import sys, anytune.local.provider; print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_good_folder_has_no_problems_and_stays_on_this_machine(tmp_path: Path, model: Path) -> None:
    found = new_provider(tmp_path).capabilities(str(model))
    assert found.known
    assert found.problems == ()
    assert found.local
    assert found.regions == ("local",)
    assert found.price is None
    assert found.max_length == 256
    assert found.settings["training.max_length"].maximum == 256


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda m: (m / "config.json").unlink(), "config.json"),
        (lambda m: (m / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda m: (m / "chat_template.jinja").unlink(), "no chat template"),
        (lambda m: (m / "model.safetensors").unlink(), "no weights"),
        (lambda m: (m / "model.safetensors").rename(m / "pytorch_model.bin"), "pickle"),
        (lambda m: (m / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"A": "b.C"}})), "auto_map"),
        (lambda m: (m / "tokenizer_config.json").write_text('{"auto_map": {"A": "b.C"}}'), "auto_map"),
        (
            lambda m: (m / "config.json").write_text(
                json.dumps(CONFIG | {"quantization_config": {"quant_method": "gptq"}})
            ),
            "already quantised (gptq)",
        ),
        (
            lambda m: (m / "model.safetensors.index.json").write_text('{"weight_map": {"a": "x-1.safetensors"}}'),
            "1 of 1 weight files are missing",
        ),
    ],
)
def test_a_bad_folder_says_what_is_missing(tmp_path: Path, model: Path, harm, says: str) -> None:  # type: ignore[no-untyped-def]
    harm(model)
    found = new_provider(tmp_path).capabilities(str(model))
    assert any(says in problem for problem in found.problems), found.problems


def test_no_such_folder_is_a_problem(tmp_path: Path) -> None:
    assert "no such folder" in new_provider(tmp_path).capabilities("./nowhere/at/all").problems[0]


def test_a_hub_id_that_is_not_here_will_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    provider = new_provider(tmp_path)
    found = provider.capabilities("Qwen/Qwen3.5-9B")
    assert found.known
    assert "fetched from the hub" in found.notes[0]
    job = spec("Qwen/Qwen3.5-9B", data)
    assert provider.render(job, job_id="j", training_file="f", validation_file=None)["offline"] is False
    kept = job.model_copy(update={"data": job.data.model_copy(update={"residency": "local"})})
    assert provider.render(kept, job_id="j", training_file="f", validation_file=None)["offline"] is True


def test_a_hub_id_in_the_cache_is_looked_at_like_a_folder(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--o--n" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    model.rename(snapshot)
    (snapshot / "chat_template.jinja").unlink()
    found = new_provider(tmp_path).capabilities("o/n")
    assert "no chat template" in found.problems[0]
    assert found.notes == ()


def test_every_training_setting_has_a_rule(tmp_path: Path, model: Path) -> None:
    rules = new_provider(tmp_path).capabilities(str(model)).settings
    assert every_setting() | {"method"} == set(rules)
    assert all(rule.why for rule in rules.values() if rule.outcome == "refused")


def test_every_kept_setting_changes_the_request(tmp_path: Path, model: Path, data: Path) -> None:
    provider = new_provider(tmp_path)
    other = {
        "epochs": 5, "batch_size": 3, "micro_batch_size": 2, "learning_rate": 0.01, "warmup_ratio": 0.5,
        "weight_decay": 0.1, "max_grad_norm": 2.0, "scheduler": "cosine", "lora": None, "quantize": None,
        "max_length": 99, "over_length": "refuse", "seed": 3, "beta": 0.3, "simpo_gamma": 0.7, "orpo_lambda": 0.2,
    }  # fmt: skip
    lora = {"rank": 4, "alpha": 5, "dropout": 0.5, "target_modules": ["q_proj"], "use_rslora": True}

    def rendered(**training: object) -> object:
        asked = {"training": Training.model_validate(training), "method": "dpo"}  # which takes all settings
        values = spec(model, data).model_copy(update=asked)
        return provider.render(values, job_id="j", training_file="f", validation_file=None)["training"]

    plain = rendered()
    assert "auto" not in json.dumps(plain)
    for name, rule in provider.capabilities(str(model)).settings.items():
        part = name.removeprefix("training.")
        if rule.outcome != "kept" or part == name or name in REINFORCEMENT:
            continue
        group, _, leaf = part.partition(".")
        changed = {"lora": {leaf: lora[leaf]}} if leaf else {group: other[group]}
        assert rendered(**changed) != plain, name


def test_quantised_weights_cannot_be_trained_themselves(tmp_path: Path, model: Path, data: Path) -> None:
    with pytest.raises(RefusedError, match="quantize"):
        new_provider(tmp_path).render(
            spec(model, data, lora=None, quantize="nf4"), job_id="j", training_file="f", validation_file=None
        )


def test_an_upload_is_a_copy_under_its_content(tmp_path: Path, data: Path) -> None:
    provider = new_provider(tmp_path / "home")
    file = data_file(data)
    name = provider.upload(file)
    assert name == provider.upload(file) == f"file-{file.sha256}"
    assert (tmp_path / "home" / "files" / file.sha256).read_bytes() == data.read_bytes()
    assert [p.name for p in (tmp_path / "home" / "files").iterdir()] == [file.sha256]


def test_a_file_that_changed_since_the_check_is_refused(tmp_path: Path, data: Path) -> None:
    file = data_file(data)
    data.write_text("other")
    provider = new_provider(tmp_path / "home")
    with pytest.raises(RejectedError, match="changed"):
        provider.upload(file)
    assert list((tmp_path / "home" / "files").iterdir()) == []
    data.unlink()
    with pytest.raises(RejectedError, match="gone"):
        provider.upload(file)


def test_a_damaged_copy_is_written_again(tmp_path: Path, data: Path) -> None:
    provider = new_provider(tmp_path / "home")
    file = data_file(data)
    provider.upload(file)
    (tmp_path / "home" / "files" / file.sha256).write_text("half")
    provider.upload(file)
    assert (tmp_path / "home" / "files" / file.sha256).read_bytes() == data.read_bytes()


@pytest.mark.parametrize("name", ["none", "../etc", "", ".hidden", "a/b", "a" * 200])
def test_an_unknown_run_is_not_found(tmp_path: Path, name: str) -> None:
    provider = new_provider(tmp_path)
    for call in (provider.retrieve, provider.events, provider.cancel, provider.resume):
        with pytest.raises(NotFoundError):
            call(name)
    assert provider.find(name) is None


def test_each_way_a_run_can_stand_has_its_word(tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run, lock = new_run(tmp_path / "runs", "job", {"job_id": "job", "training_file": "f"})
    assert lock is not None
    assert provider.retrieve("job").state == JobState.QUEUED
    (run.path / "worker.pid").write_text("999999999")
    assert provider.retrieve("job").state == JobState.RUNNING
    assert provider.retrieve("job").seen_job_id == "job"
    os.close(lock)
    gone = provider.retrieve("job")
    assert (gone.status, gone.state) == ("interrupted", JobState.PAUSED)
    assert gone.error is not None
    assert "resume goes on from step 0" in gone.error
    write_json(run.path / "result.json", {"state": "failed", "error": "out of memory", "fix": "less", "cause": "user"})
    failed = provider.retrieve("job")
    assert (failed.state, failed.cause, failed.error) == (JobState.FAILED, "user", "out of memory; less")


def test_cancelling_a_dead_run_marks_it_and_an_ended_one_is_left_alone(tmp_path: Path) -> None:
    provider = new_provider(tmp_path)
    run, lock = new_run(tmp_path / "runs", "job", {})
    assert lock is not None
    os.close(lock)
    (run.path / "worker.pid").write_text(str(os.getpid()))  # a number used again: this very process must not be hit
    assert provider.cancel("job").state == JobState.CANCELLED
    assert provider.cancel("job").state == JobState.CANCELLED
    write_json(run.path / "result.json", {"state": "succeeded", "model_path": "m"})
    assert provider.cancel("job").state == JobState.SUCCEEDED


def test_a_job_id_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError):
        new_provider(tmp_path).create({"job_id": "../x"})


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "NEEDS", ("no_such_package_here",))
    with pytest.raises(MissingExtraError) as error:
        new_provider(tmp_path).create({"job_id": "job"})
    assert error.value.fix == "pip install 'anytune[local]'"
    assert not (tmp_path / "runs").exists(), "nothing is half-made"
