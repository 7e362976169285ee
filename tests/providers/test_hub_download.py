"""A tuned model comes home from the Hub whole, or not at all; nothing else comes with it."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import NotFoundError, RejectedError, UnavailableError
from anytune.schema.model import TunedModel
from tests.providers._hub import JOB_ID, MODEL, HubRig, running
from tests.stubs._http import Trap
from tests.stubs.hub import REPOSITORY, WEIGHTS, HubStub

READ = "GET /storage/*"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


def tuned(rig: HubRig) -> TunedModel:
    id = rig.start()
    rig.finish(id)
    name = rig.provider.retrieve(id).model
    assert name is not None
    return TunedModel(provider="hf-jobs", base=MODEL, name=name, job_id=JOB_ID)


def test_the_adapter_comes_home_with_a_manifest(rig: HubRig, tmp_path: Path) -> None:
    manifest = rig.provider.export(tuned(rig), to="adapter", out=tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name in WEIGHTS} == WEIGHTS
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in WEIGHTS.items()}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_the_key_stays_with_the_hub(rig: HubRig, tmp_path: Path) -> None:
    rig.provider.export(tuned(rig), to="adapter", out=tmp_path / "out")
    assert [call for call in rig.stub.calls(READ) if "authorization" in call.headers] == []


def test_a_download_that_broke_goes_on_where_it_was(rig: HubRig, tmp_path: Path) -> None:
    model = tuned(rig)
    rig.stub.break_next(READ)
    with pytest.raises(UnavailableError):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rig.provider.export(model, to="adapter", out=tmp_path / "out")
    assert rig.stub.calls(READ)[-1].headers["range"].startswith("bytes=")
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == WEIGHTS["adapter_model.safetensors"]


def test_a_file_that_is_not_the_listed_one_is_thrown_away(rig: HubRig, tmp_path: Path) -> None:
    model = tuned(rig)
    digest = hashlib.sha256(WEIGHTS["adapter_model.safetensors"]).hexdigest()
    rig.stub.shelf.storage[digest] = bytes(len(WEIGHTS["adapter_model.safetensors"]))
    with pytest.raises(UnavailableError, match="not what the Hub says"):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")
    rig.stub.shelf.storage[digest] = WEIGHTS["adapter_model.safetensors"]
    rig.provider.export(model, to="adapter", out=tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "x.pt", "x.py", ".hidden.json", "a/b.json", "manifest.json", "training_args.pkl"]
)
def test_a_file_that_may_run_code_or_lies_elsewhere_is_not_written(rig: HubRig, tmp_path: Path, name: str) -> None:
    model = tuned(rig)
    rig.stub.leave(JOB_ID, {f"model/{name}": b"{}"})
    with pytest.raises(RejectedError, match="not written"):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_were_merged_nowhere_are_not_promised(rig: HubRig, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="base model"):
        rig.provider.export(tuned(rig), to="merged", out=tmp_path / "out")


def test_wholly_trained_weights_are_handed_out_as_they_are(rig: HubRig, tmp_path: Path) -> None:
    rig.stub.weights = {"config.json": b"{}", "model.safetensors": b"weights"}
    model = tuned(rig)
    with pytest.raises(RejectedError, match="no adapter"):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")
    rig.provider.export(model, to="merged", out=tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"weights"


def test_a_folder_that_is_taken_is_left_alone(rig: HubRig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(RejectedError, match="not empty"):
        rig.provider.export(tuned(rig), to="adapter", out=tmp_path / "out")


@pytest.mark.parametrize("name", ["", "x", f"hf://datasets/{REPOSITORY}/jobs/../model", "hf://datasets/a/b/c/model"])
def test_a_name_that_is_none_of_a_model_reaches_nobody(rig: HubRig, tmp_path: Path, name: str) -> None:
    model = TunedModel(provider="hf-jobs", base=MODEL, name=name, job_id=JOB_ID)
    with pytest.raises(NotFoundError):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")
    assert rig.calls() == 0


def test_a_redirect_within_plain_http_is_not_followed(rig: HubRig, tmp_path: Path) -> None:
    model = tuned(rig)
    rig.stub.storage = "http://storage.example"
    with pytest.raises(RejectedError, match="not reached by https"):
        rig.provider.export(model, to="adapter", out=tmp_path / "out")


def test_a_small_file_that_is_sent_elsewhere_is_read_without_the_key(rig: HubRig, tmp_path: Path) -> None:
    model = tuned(rig)
    with Trap() as trap:
        rig.stub.redirect_next("GET */resolve/main/*/adapter_config.json", to=trap.origin)
        with pytest.raises(UnavailableError):
            rig.provider.export(model, to="adapter", out=tmp_path / "out")
        assert [call for call in trap.calls() if "authorization" in call.headers] == []


def test_a_large_file_is_in_no_memory_but_the_stand_ins(rig: HubRig, tmp_path: Path) -> None:
    rig.stub.weights = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(64 << 20)}
    model = tuned(rig)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    rig.provider.export(model, to="adapter", out=tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < (64 << 20) + (4 << 20)  # the stand-in, in this process, holds what it sends once more
