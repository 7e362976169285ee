"""Nebius, and a server of one's own: hyperparameters at the top, models named by checkpoints, ids in the suffix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    ProviderError,
    RejectedError,
    UsageError,
)
from anytune.providers import load
from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import JobState
from anytune.schema.model import TunedModel
from tests.providers._openai import JOBS, LIST, MODEL, ended, profile, provider, spec, started
from tests.stubs._archives import tensors
from tests.stubs._openai_manners import NEBIUS, OWN
from tests.stubs.openai import OpenAIStub

LLAMA = "meta-llama/Meta-Llama-3.1-8B-Instruct"
ID = "tides-0a1b2c3d4e"
WEIGHTS = tensors(300_000)


@pytest.fixture
def nebius() -> Iterator[OpenAIStub]:
    with OpenAIStub(manner=NEBIUS) as stub:
        yield stub


@pytest.fixture
def own() -> Iterator[OpenAIStub]:
    with OpenAIStub(manner=OWN) as stub:
        yield stub


def offline(name: str, **changes: Any) -> OpenAIProvider:
    return OpenAIProvider(Profile(name=name, home=Path("/nowhere"), key=str, **changes))


def rendered(at: OpenAIProvider, **changes: Any) -> dict[str, Any]:
    return at.render(spec(**changes), job_id=ID, training_file="file-1", validation_file=None)


# Nebius


def test_nebius_gets_its_hyperparameters_at_the_top_and_adapters_unless_all_weights_are_wanted() -> None:
    at = offline("nebius")
    assert rendered(at, model=LLAMA) == {
        "model": LLAMA,
        "training_file": "file-1",
        "suffix": f"at--{ID}",
        "hyperparameters": {"n_epochs": 3, "lora": True},
    }
    chosen = {
        "epochs": 2,
        "learning_rate": 2e-5,
        "max_length": 8192,
        "lora": {"rank": 8, "dropout": 0.1},
        "seed": 3,
    }
    made = rendered(at, model=LLAMA, training=chosen, suffix="harbour")
    assert made["hyperparameters"] == {
        "n_epochs": 2,
        "learning_rate": 2e-5,
        "context_length": 8192,
        "lora": True,
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
    }
    assert (made["seed"], made["suffix"]) == (3, f"harbour--{ID}")
    assert rendered(at, model=LLAMA, training={"lora": None})["hyperparameters"] == {"n_epochs": 3, "lora": False}


def test_what_nebius_tunes_by_adapters_only_is_known() -> None:
    at = offline("nebius")
    assert at.capabilities(LLAMA).settings["training.lora"].outcome == "translated"
    only = at.capabilities("meta-llama/Llama-3.3-70B-Instruct")
    assert only.settings["training.lora"].outcome == "refused"
    assert only.methods == at.capabilities("unheard/of").methods == ("sft",)


def test_a_job_at_nebius_is_named_by_its_last_checkpoint_and_found_by_its_suffix(
    nebius: OpenAIStub, tmp_path: Path
) -> None:
    at = provider(nebius, name="nebius")
    job = started(at, tmp_path, job_id=ID, model=LLAMA)
    assert (job.state, job.seen_job_id) == (JobState.RUNNING, ID)
    done = ended(at, job)
    assert (done.state, done.model) == (JobState.SUCCEEDED, f"{job.id}:ftckpt_{job.id}")
    assert at.find(ID) == done
    assert "metadata" not in nebius.calls(LIST)[-1].query
    told = [event for event in at.events(job.id) if event.data]
    assert [event.data for event in told] == [{"step": n, "loss": 1.5 / n} for n in (1, 2, 3)]
    assert told[-1].id == f"ftckpt_{job.id}"


def test_a_success_without_a_checkpoint_is_not_the_end(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = started(at, tmp_path, job_id=ID, model=LLAMA)
    nebius.life = ()
    nebius.set(job.id, status="succeeded")
    assert at.retrieve(job.id).state is JobState.FINALIZING


@pytest.mark.parametrize("told", [True, False])
def test_a_success_without_a_checkpoint_has_failed_after_an_hour_by_the_servers_clock(
    nebius: OpenAIStub, tmp_path: Path, told: bool
) -> None:
    at = provider(nebius, name="nebius")
    job = started(at, tmp_path, job_id=ID, model=LLAMA)
    nebius.life = ()
    nebius.set(job.id, status="succeeded", finished_at=nebius.tick() if told else None)
    nebius.pass_time(3000)
    assert at.retrieve(job.id).state is JobState.FINALIZING
    nebius.pass_time(600)
    gone = at.retrieve(job.id)
    assert at.retrieve_many([job.id]) == {job.id: gone}
    assert (gone.state, gone.status, gone.cause) == (JobState.FAILED, "succeeded", "provider")
    assert "neither a model nor a checkpoint" in str(gone.error)


def put(stub: OpenAIStub, job_id: str, files: dict[str, bytes]) -> None:
    """Leave files of a checkpoint at a stand-in."""
    from tests.stubs._openai_store import StoredFile

    for number, (name, raw) in enumerate(files.items()):
        stub.files[f"weights-{number}"] = StoredFile(f"weights-{number}", name, "fine-tune-results", raw, 1)
    stub.set(job_id, checkpoint_files=[f"weights-{number}" for number in range(len(files))])


def test_the_weights_of_a_checkpoint_come_home(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = ended(at, started(at, tmp_path, job_id=ID, model=LLAMA))
    weights = {"ckpt/adapter_config.json": b"{}", "ckpt/adapter_model.safetensors": WEIGHTS}
    put(nebius, job.id, weights)
    tuned = TunedModel(provider="nebius", base=LLAMA, name=job.model or "", job_id=ID)
    with pytest.raises(UsageError) as caught:
        at.export(tuned, to="merged", out=tmp_path / "out")
    assert caught.value.fix == "--to adapter"
    nebius.cut_next("*/content")
    with pytest.raises(ProviderError):
        at.export(tuned, to="adapter", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    manifest = at.export(tuned, to="adapter", out=tmp_path / "out")
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == WEIGHTS
    assert manifest["files"]["adapter_config.json"] == hashlib.sha256(b"{}").hexdigest()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_pickles_and_code_beside_the_weights_are_not_written(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = ended(at, started(at, tmp_path, job_id=ID, model=LLAMA))
    good = {"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS}
    put(nebius, job.id, {**good, "adapter_model.bin": b"pickle", "model.py": b"code"})
    tuned = TunedModel(provider="nebius", base=LLAMA, name=job.model or "", job_id=ID)
    manifest = at.export(tuned, to="adapter", out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*good, "manifest.json"])
    assert (sorted(manifest["files"]), manifest["left_out"]) == (sorted(good), ["adapter_model.bin", "model.py"])
    assert len(nebius.calls("GET */content")) == len(good)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"adapter_model.bin": b"pickle"}, "pickle"),
        ({"adapter_model.safetensors": bytes(10)}, "not a whole safetensors file"),
        ({"model.py": b"code"}, "no safetensors"),
        ({"adapter_model.safetensors": WEIGHTS[:-1]}, "not a whole safetensors file"),
    ],
)
def test_a_checkpoint_without_whole_weights_is_refused(
    nebius: OpenAIStub, tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    at = provider(nebius, name="nebius")
    job = ended(at, started(at, tmp_path, job_id=ID, model=LLAMA))
    put(nebius, job.id, {"adapter_config.json": b"{}", **files})
    tuned = TunedModel(provider="nebius", base=LLAMA, name=job.model or "", job_id=ID)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RejectedError, match=why):
        at.export(tuned, to="adapter", out=tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["..", "a/..", ".bashrc", "manifest.json", "a b"])
def test_a_file_that_would_lie_elsewhere_is_not_written(nebius: OpenAIStub, tmp_path: Path, name: str) -> None:
    at = provider(nebius, name="nebius")
    job = ended(at, started(at, tmp_path, job_id=ID, model=LLAMA))
    put(nebius, job.id, {name: b"x"})
    tuned = TunedModel(provider="nebius", base=LLAMA, name=job.model or "", job_id=ID)
    with pytest.raises(RejectedError, match="not written"):
        at.export(tuned, to="adapter", out=tmp_path / "out")


def test_who_hands_out_no_weights_says_so(tmp_path: Path) -> None:
    tuned = TunedModel(provider="openai", base=MODEL, name="ft:x", job_id=ID)
    with pytest.raises(UsageError, match="does not hand out weights"):
        offline("openai").export(tuned, to="adapter", out=tmp_path / "out")


# a server of one's own


def test_an_own_server_needs_no_code_and_no_key(own: OpenAIStub, tmp_path: Path) -> None:
    own.key = ""
    at = load("mine", Profile(name="mine", home=tmp_path, key=str, base_url=own.base_url, like="openai"))
    assert isinstance(at, OpenAIProvider)
    job = ended(at, started(at, tmp_path, job_id=ID, model="acme/own-7b"))
    assert job.state is JobState.SUCCEEDED
    assert all("authorization" not in call.headers for call in own.journal)


def test_an_own_server_that_drops_metadata_is_looked_through_by_suffix(own: OpenAIStub, tmp_path: Path) -> None:
    at = provider(own, name="mine", like="openai")
    job = started(at, tmp_path, job_id=ID, model="acme/own-7b", suffix="harbour")
    sent = own.calls(JOBS)[-1].json
    assert (sent["suffix"], sent["metadata"]) == (f"harbour--{ID}", {"anytune_job": ID})
    found = at.find(ID)
    assert found is not None
    assert found.id == job.id


def test_of_an_own_server_the_dialect_alone_is_known() -> None:
    at = offline("mine", like="nebius", base_url="https://gpu.example/v1")
    known = at.capabilities("anything/at-all")
    assert (known.provider, known.known, known.price, known.model_shutdown) == ("mine", True, None, None)
    assert known.regions is None
    assert any("price" in note for note in known.notes)
    assert known.settings["training.learning_rate"].to == "hyperparameters.learning_rate"
    second = offline("second", like="nebius").capabilities(LLAMA)  # another account at the same host
    assert second.price is not None


@pytest.mark.parametrize(
    ("name", "like", "said"),
    [
        ("mine", "together", "'together' is none of openai, azure, nebius"),
        ("mine", "nebuis", "'nebuis' is none of"),
        ("openai", "nebius", "openai is a provider already"),
    ],
)
def test_a_profile_is_like_those_who_speak_openais_api_only(name: str, like: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(name, Profile(name=name, home=Path("/nowhere"), key=str, like=like))


@pytest.mark.parametrize("host", ["gateway.example", "api.openai.com.gateway.example", "xapi.openai.com"])
def test_a_gateway_before_openai_that_drops_metadata_is_not_paid_twice(
    own: OpenAIStub, tmp_path: Path, host: str
) -> None:
    assert "metadata" not in own.manner.shown({"metadata": {}, "user_provided_suffix": None})
    at = OpenAIProvider(profile(own))  # profiles: {openai: {base_url: …}}
    started(at, tmp_path, job_id=ID, model="acme/own-7b")
    found = at.find(ID)
    assert found is not None
    assert found.seen_job_id == ID
    assert rendered(offline("openai", base_url=f"https://{host}/v1"), model=MODEL)["suffix"] == f"at--{ID}"


def test_a_job_whose_checkpoints_are_not_there_is_not_lost(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = started(at, tmp_path, model=LLAMA)
    nebius.finish(job.id)
    nebius.fail_next("GET */checkpoints", status=404)
    assert at.retrieve(job.id).state is JobState.FINALIZING
    assert at.retrieve(job.id).state is JobState.SUCCEEDED


def test_a_suffix_that_names_another_job_does_not_make_it_that_one(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    started(at, tmp_path, job_id="next-0123456789", model=LLAMA, suffix=ID)
    assert at.find(ID) is None
    assert at.find("next-0123456789") is not None


@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_openai_itself_keeps_metadata_wherever_it_stores_data(base_url: str | None) -> None:
    body = rendered(offline("openai", base_url=base_url), model=MODEL)
    assert (body["metadata"], body.get("suffix")) == ({"anytune_job": ID}, None)
