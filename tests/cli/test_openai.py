"""What a user of OpenAI, Azure and Nebius types on the way of a job and after it, against the stand-ins."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import anytune.clock
from tests.cli.conftest import Type
from tests.providers.test_openai_own import WEIGHTS
from tests.soak.work import QuickClock
from tests.stubs import _openai_manners as manners
from tests.stubs._openai_store import StoredFile
from tests.stubs.openai import OpenAIStub

MODELS = {
    "openai": "gpt-4.1-mini-2025-04-14",
    "azure": "gpt-4.1-mini-2025-04-14",
    "nebius": "meta-llama/Meta-Llama-3.1-8B-Instruct",
}
KEYS = {"openai": "OPENAI_API_KEY", "azure": "AZURE_OPENAI_API_KEY", "nebius": "NEBIUS_API_KEY"}
MANNERS = {"openai": manners.OPENAI, "azure": manners.AZURE, "nebius": manners.NEBIUS}
At = Callable[[str], OpenAIStub]


@pytest.fixture
def at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[At]:
    """Serve a provider, and stand in a folder with a job for it; waits are a thousandth of what they say."""
    monkeypatch.setattr(anytune.clock, "SystemClock", QuickClock)
    running: list[OpenAIStub] = []

    def served(name: str) -> OpenAIStub:
        stub = OpenAIStub(manner=MANNERS[name]).__enter__()
        running.append(stub)
        (folder / "anytune.yaml").write_text(json.dumps({"profiles": {name: {"base_url": stub.base_url}}}))
        (folder / "finetune.yaml").write_text(
            f"name: sums\nprovider: {name}\nmodel: {MODELS[name]}\ndata: {{train: train.jsonl, test: test.jsonl}}\n"
        )
        monkeypatch.setenv(KEYS[name], stub.key)
        return stub

    yield served
    for stub in running:
        stub.__exit__()


@contextmanager
def trained(anytune: Type) -> Iterator[str]:
    """Bring a job to its end and lend its id."""
    said = anytune("run", "-y", "--no-eval", "--json")
    assert said.code == 0, said.err
    yield said.document["job"]["id"]


def test_a_running_job_is_paused_asked_at_a_checkpoint_and_resumed(anytune: Type, at: At) -> None:
    stub = at("openai")
    anytune("submit", "-y")
    (job_id,) = stub.jobs
    while stub.jobs[job_id]["status"] != "running":
        anytune("show")
    said = anytune("pause", "--json")
    assert (said.code, said.document["job"]["state"]) == (0, "paused")
    assert any("resume" in command for command in said.document["next"])
    assert anytune("pause").code == 0
    assert len(stub.calls("POST */pause")) == 1
    shown = anytune("checkpoints")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["step", "1", "2", "3"]
    (last,) = [c for c in anytune("checkpoints", "--json").document["checkpoints"] if c["step"] == 2]
    assert last["model"].endswith(":ckpt-step-2")
    assert anytune("chat", "--step", "2", "--once", "1 + 1", "--json").code == 0
    assert stub.calls("POST */chat/completions")[-1].json["model"] == last["model"]
    assert anytune("resume", "-y").out.split()[1] == "queued"
    assert anytune("watch", "last").code == 0


def test_a_job_that_cannot_be_paused_says_what_can_be_done(anytune: Type, at: At) -> None:
    at("nebius")
    anytune("submit", "-y")
    said = anytune("pause")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: nebius cannot pause a job")


def test_a_checkpoint_is_compared_with_the_base_and_leaves_the_jobs_own_comparison_alone(anytune: Type, at: At) -> None:
    at("openai")
    with trained(anytune) as job_id:
        whole = anytune("eval", job_id, "--json").document["evaluation"]
        early = anytune("eval", job_id, "--step", "1", "--json").document["evaluation"]
        assert early["tuned"].endswith(":ckpt-step-1")
        assert whole["tuned"] != early["tuned"]
        assert anytune("run", "-y", "--json").document["evaluation"]["tuned"] == whole["tuned"]


def test_a_step_without_a_checkpoint_is_told_with_those_that_are_there(anytune: Type, at: At) -> None:
    at("openai").steps = 5
    with trained(anytune):
        for verb in (("chat", "--once", "hello"), ("eval",), ("export", "--out", "weights")):
            said = anytune(verb[0], "last", *verb[1:], "--step", "2")
            assert said.code == 2
            assert "has no checkpoint of step 2\n  fix: there are: 3, 4, 5" in said.err


def test_long_lists_of_checkpoints_are_walked_through(anytune: Type, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.stubs._openai_rest.KEPT", 30)
    monkeypatch.setattr("anytune.providers.openai.history.PAGE", 7)
    stub = at("openai")
    stub.steps = 30
    with trained(anytune):
        told = anytune("checkpoints", "--json").document["checkpoints"]
        assert [one["step"] for one in told] == list(range(1, 31))
        assert len(stub.calls("GET */checkpoints")) == 5


@pytest.mark.parametrize("name", ["openai", "azure"])
def test_weights_that_nobody_gets_are_not_offered_and_refused_in_a_line(anytune: Type, at: At, name: str) -> None:
    at(name)
    with trained(anytune):
        assert "export" not in anytune("show").err
        said = anytune("export", "--step", "1", "--out", "weights")
        assert said.code == 2
        assert f"error: {name} does not hand out weights from here\n  fix: anytune models" in said.err


def test_a_checkpoint_of_azures_has_to_be_deployed_before_it_answers(anytune: Type, at: At) -> None:
    at("azure")
    with trained(anytune):
        said = anytune("chat", "--step", "1", "--once", "hello")
        assert said.code == 3
        assert "deployed first" in said.err


def test_an_earlier_checkpoint_of_nebius_comes_home(anytune: Type, at: At, folder: Path) -> None:
    stub = at("nebius")
    with trained(anytune):
        (job_id,) = stub.jobs
        for name, raw in {"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS}.items():
            stub.files[name] = StoredFile(name, name, "fine-tune-results", raw, 1)
        stub.set(job_id, checkpoint_files={2: ["adapter_config.json", "adapter_model.safetensors"]})
        said = anytune("export", "--step", "2", "--to", "adapter", "--out", "weights", "--json")
        assert said.code == 0, said.err
        manifest = said.document["manifest"]
        assert manifest["files"]["adapter_model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
        assert (folder / "weights" / "adapter_model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("wrapped", [False, True], ids=["csv", "base64"])
def test_the_figures_of_a_result_file_are_shown_where_no_event_tells_them(anytune: Type, at: At, wrapped: bool) -> None:
    stub = at("azure")
    stub.manner = replace(stub.manner, tells_loss=False)
    rows = b"step,train_loss,valid_loss,train_mean_token_accuracy\n1,2.5,,0.4\n2,1.25,1.5,\n"
    stub.results = base64.b64encode(rows) if wrapped else rows
    with trained(anytune):
        shown = anytune("show").out
        assert "1.2500 (first 2.5000)" in shown
        assert "step 2: loss 1.25, valid_loss 1.5" in anytune("events").out


def test_a_new_model_that_does_not_answer_yet_is_asked_again(anytune: Type, at: At) -> None:
    stub = at("openai")
    with trained(anytune) as job_id:
        stub.not_ready = 3
        said = anytune("chat", job_id, "--once", "1 + 1", "--json")
        assert said.code == 0, said.err
        assert len(stub.calls("POST */chat/completions")) == 4


def test_an_organisation_that_may_not_train_leaves_no_file_behind_and_hears_of_others(anytune: Type, at: At) -> None:
    stub = at("openai")
    stub.closed = True
    said = anytune("submit", "-y")
    assert said.code == 3
    assert "was removed from openai again" in said.err
    assert "together" in said.err.partition("fix:")[2]
    assert stub.files == {}
    assert anytune("list", "--json").document["jobs"][0]["state"] == "failed"
