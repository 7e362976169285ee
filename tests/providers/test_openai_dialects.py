"""Those who speak OpenAI's API in their own way: Azure, Nebius, and a server of one's own, by data alone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import NotFoundError, ProviderError, RateLimitedError, RejectedError, UnavailableError, UsageError
from anytune.providers import load
from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import JobState
from anytune.schema.model import TunedModel
from tests.providers._openai import JOBS, LIST, MODEL, chats, data_file, ended, provider, spec, started
from tests.providers._openai import request as body
from tests.stubs._openai_manners import AZURE, BOM, NEBIUS, OWN
from tests.stubs.openai import START, OpenAIStub

LLAMA = "meta-llama/Meta-Llama-3.1-8B-Instruct"
ID = "tides-0a1b2c3d4e"


@pytest.fixture
def azure() -> Iterator[OpenAIStub]:
    with OpenAIStub(manner=AZURE) as stub:
        yield stub


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


# Azure


def test_azure_gets_a_byte_order_mark_once_and_the_file_stays_as_it_is(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    bare, marked = data_file(tmp_path, chats(12)), data_file(tmp_path, chats(13), "validation", bom=True)
    as_it_is = bare.path.read_bytes()
    assert azure.files[at.upload(bare)].content == BOM + as_it_is
    assert azure.files[at.upload(marked)].content == marked.path.read_bytes()
    assert bare.path.read_bytes() == as_it_is
    assert at.upload(bare) == at.upload(bare)
    assert len(azure.files) == 2


def test_a_large_file_with_a_mark_arrives_whole(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    file = data_file(tmp_path, chats(20_000))
    assert file.bytes > 1 << 20
    assert azure.files[at.upload(file)].content == BOM + file.path.read_bytes()


def test_azure_takes_a_job_once_its_file_is_processed(azure: OpenAIStub, tmp_path: Path) -> None:
    azure.unchecked = 1
    at = provider(azure, name="azure")
    request = body(at, at.upload(data_file(tmp_path, chats(12))), job_id=ID)
    with pytest.raises(RateLimitedError, match="not processed yet") as caught:
        at.create(request)
    assert caught.value.retry_after
    assert azure.calls(JOBS) == []
    assert at.create(request).seen_job_id == ID


def test_a_file_that_azure_cannot_use_is_refused_and_an_unclear_look_starts_nothing(
    azure: OpenAIStub, tmp_path: Path
) -> None:
    at = provider(azure, name="azure")
    file_id = at.upload(data_file(tmp_path, chats(12)))
    request = body(at, file_id, job_id=ID)
    azure.fail_next("GET */files/*", status=503)
    with pytest.raises(UnavailableError):
        at.create(request)
    azure.files[file_id].status = "error"
    with pytest.raises(RejectedError, match="error"):
        at.create(request)
    assert azure.calls(JOBS) == []


def test_azure_gets_the_key_in_its_own_header_and_nobodys_organisation(
    azure: OpenAIStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_1")
    started(provider(azure, name="azure"), tmp_path)
    for call in azure.journal:
        assert call.headers["api-key"] == azure.key
        assert not {"authorization", "openai-organization", "openai-project"} & set(call.headers)


@pytest.mark.parametrize(
    ("tier", "word"), [(None, "Standard"), ("globalStandard", "GlobalStandard"), ("developer", "developerTier")]
)
def test_the_tier_of_the_profile_says_how_azure_trains(
    azure: OpenAIStub, tmp_path: Path, tier: str | None, word: str
) -> None:
    started(provider(azure, name="azure", tier=tier), tmp_path)
    assert azure.calls(JOBS)[-1].json["trainingType"] == word


def test_azures_suffix_is_short_without_dots_and_ends_in_a_mark_of_the_job(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    job = started(at, tmp_path, job_id=ID, suffix="harbour.of.brest")
    suffix = azure.calls(JOBS)[-1].json["suffix"]
    assert suffix == f"harbour-{hashlib.sha256(ID.encode()).hexdigest()[:10]}"
    assert rendered(offline("azure"))["suffix"].startswith("at-")
    azure.set(job.id, metadata=None)  # as a server would have it that drops them
    found = at.find(ID)
    assert found is not None
    assert (found.id, found.seen_job_id) == (job.id, ID)
    assert at.find("tides-0a1b2c3d4f") is None


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/openai/v1/", "https://mine.openai.azure.com/openai/v1"),
    ],
)
def test_an_address_of_azure_may_be_given_short(given: str, address: str) -> None:
    assert offline("azure", base_url=given)._speech.base_url == address


def test_azure_without_an_address_says_what_one_looks_like() -> None:
    at = offline("azure")
    said = "profiles.azure.base_url is not set: https://<resource>.openai.azure.com"
    assert at.capabilities(MODEL).problems == (said,)
    with pytest.raises(UsageError, match="is not set"):
        at.retrieve("ftjob-1")
    assert offline("azure", base_url="https://mine.openai.azure.com").capabilities(MODEL).problems == ()


def test_a_tier_that_is_none_is_a_problem_of_the_plan() -> None:
    (said,) = offline("azure", base_url="https://a", tier="globalstandard").capabilities(MODEL).problems
    assert said == "profiles.azure.tier: 'globalstandard': did you mean globalStandard?"
    (said,) = offline("openai", tier="developer").capabilities(MODEL).problems
    assert said == "profiles.openai.tier: openai has no tiers"


def test_a_model_that_azure_has_not_deployed_says_what_is_to_be_done(azure: OpenAIStub, tmp_path: Path) -> None:
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    tuned = TunedModel(provider="azure", base=MODEL, name=job.model or "", job_id="tides-1")
    with pytest.raises(NotFoundError) as caught:
        list(at.generator(base=MODEL, tuned=tuned).answer([[{"role": "user", "content": "Hi"}]], max_new_tokens=1))
    assert "deployed" in (caught.value.fix or "")


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
    (told,) = [event for event in at.events(job.id) if event.data]
    assert (told.id, told.data) == (f"ftckpt_{job.id}", {"step": 3, "loss": 0.5})


def test_a_success_without_a_checkpoint_is_not_the_end(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = started(at, tmp_path, job_id=ID, model=LLAMA)
    nebius.life = ()
    nebius.set(job.id, status="succeeded")
    assert at.retrieve(job.id).state is JobState.FINALIZING


def put(stub: OpenAIStub, job_id: str, files: dict[str, bytes]) -> None:
    """Leave files of a checkpoint at a stand-in."""
    from tests.stubs._openai_store import StoredFile

    for number, (name, raw) in enumerate(files.items()):
        stub.files[f"weights-{number}"] = StoredFile(f"weights-{number}", name, "fine-tune-results", raw, 1)
    stub.set(job_id, checkpoint_files=[f"weights-{number}" for number in range(len(files))])


def test_the_weights_of_a_checkpoint_come_home(nebius: OpenAIStub, tmp_path: Path) -> None:
    at = provider(nebius, name="nebius")
    job = ended(at, started(at, tmp_path, job_id=ID, model=LLAMA))
    weights = {"ckpt/adapter_config.json": b"{}", "ckpt/adapter_model.safetensors": bytes(300_000)}
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
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == bytes(300_000)
    assert manifest["files"]["adapter_config.json"] == hashlib.sha256(b"{}").hexdigest()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


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


# what a job leaves behind

CSV = "step,train_loss,train_accuracy,valid_loss\n1,2.5,0.4,\n2,1.25,0.5,1.5\n\nx,y\n"


@pytest.mark.parametrize("content", [CSV.encode(), base64.encodebytes(CSV.encode()), BOM + CSV.encode()])
def test_the_figures_of_the_result_file_are_events_where_no_event_tells_a_loss(
    azure: OpenAIStub, tmp_path: Path, content: bytes
) -> None:
    azure.steps, azure.results = 0, content
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    told = [event for event in at.events(job.id) if event.data]
    assert [event.data for event in told] == [
        {"step": 1, "loss": 2.5, "train_accuracy": 0.4},
        {"step": 2, "loss": 1.25, "train_accuracy": 0.5, "valid_loss": 1.5},
    ]
    assert told[0].message == "step 1: loss 2.5, train_accuracy 0.4"
    assert [event.id for event in told] == [event.id for event in at.events(job.id) if event.data]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe,", b"loss,epoch\n1,2\n", b"step\nnan\n"])
def test_a_result_file_that_tells_nothing_is_no_event(azure: OpenAIStub, tmp_path: Path, content: bytes) -> None:
    azure.steps, azure.results = 0, content
    at = provider(azure, name="azure")
    job = ended(at, started(at, tmp_path))
    assert [event for event in at.events(job.id) if event.data] == []


def test_no_result_file_is_asked_for_where_the_events_tell_the_loss(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        stub.results = CSV.encode()
        at = provider(stub)
        job = ended(at, started(at, tmp_path))
        at.events(job.id)
        assert stub.calls("*/content") == []


# a paused job, a new model


def test_a_paused_job_goes_on_and_any_other_is_left_alone(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        at = provider(stub)
        job = started(at, tmp_path)
        stub.life = ()
        stub.set(job.id, status="paused")
        assert at.resume(job.id).state is JobState.QUEUED
        assert at.resume(job.id).state is JobState.QUEUED
        assert len(stub.calls("*/resume")) == 1


def test_a_model_that_was_made_long_ago_and_is_not_there_is_gone(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        at = provider(stub)
        job = ended(at, started(at, tmp_path))
        stub.set(job.id, finished_at=START - 24 * 3600)
        stub.not_ready = 1
        tuned = TunedModel(provider="openai", base=MODEL, name=job.model or "", job_id="tides-1")
        with pytest.raises(NotFoundError):
            list(at.generator(base=MODEL, tuned=tuned).answer([[{"role": "user", "content": "Hi"}]], max_new_tokens=1))
