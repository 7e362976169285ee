"""The way home of a model from Fireworks: whole or not at all, gone on with, and nowhere but into its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import MalformedAnswerError, NotFoundError, ProviderError, RejectedError, UnavailableError
from anytune.providers.base import Exports
from anytune.schema.model import TunedModel
from tests.providers._fireworks import JOB_ID, MODEL, WEIGHTS, FireworksRig, running
from tests.stubs import fireworks
from tests.stubs._http import Trap
from tests.stubs.fireworks import FireworksStub

BIG = "GET /storage/*safetensors"
GIVE = "GET /v1/*:getDownloadEndpoint"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: FireworksStub) -> FireworksRig:
    return FireworksRig(tmp_path, stub)


@pytest.fixture
def tuned(rig: FireworksRig) -> TunedModel:
    name = rig.start()
    rig.finish(name)
    model = rig.provider.retrieve(name).model
    assert model is not None
    return TunedModel(provider="fireworks", base=MODEL, name=model, job_id=JOB_ID)


def beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path.name.startswith("."))


def test_every_file_comes_whole_with_its_hash_in_the_manifest(
    rig: FireworksRig, tuned: TunedModel, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    assert isinstance(rig.provider, Exports)
    manifest = rig.provider.export(tuned, to="adapter", out=out)
    for name, content in fireworks.WEIGHTS.items():
        assert (out / name).read_bytes() == content
        assert manifest["files"][name] == hashlib.sha256(content).hexdigest()
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert (manifest["kind"], manifest["base"], manifest["job_id"]) == ("adapter", MODEL, JOB_ID)
    assert beside(out) == []


def test_the_storage_never_sees_the_key(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
    assert [call for call in rig.stub.calls(WEIGHTS) if "authorization" in call.headers] == []


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(
    rig: FireworksRig, tuned: TunedModel, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError, match="cut off after"):
        rig.provider.export(tuned, to="adapter", out=out)
    assert not out.exists()
    rig.provider.export(tuned, to="adapter", out=out)
    first, second = rig.stub.calls(BIG)
    assert "range" not in first.headers
    half = len(fireworks.WEIGHTS["adapter_model.safetensors"]) // 2
    assert 0 < int(second.headers["range"].removeprefix("bytes=").removesuffix("-")) <= half
    assert (out / "adapter_model.safetensors").read_bytes() == fireworks.WEIGHTS["adapter_model.safetensors"]
    assert rig.calls("GET /storage/*adapter_config.json") == 1
    assert beside(out) == []


def test_a_part_of_another_version_is_thrown_away(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.stub.version = "2"
    rig.stub.weights["adapter_model.safetensors"] = b"new" * 100_000
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == b"new" * 100_000


def test_a_part_that_is_whole_already_is_taken(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    (part,) = tmp_path.glob(".model.*.part/.adapter_model*.part")
    part.write_bytes(fireworks.WEIGHTS["adapter_model.safetensors"])
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == fireworks.WEIGHTS["adapter_model.safetensors"]


def test_a_part_that_is_whole_already_and_wrong_is_thrown_away(
    rig: FireworksRig, tuned: TunedModel, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    (part,) = tmp_path.glob(".model.*.part/.adapter_model*.part")
    part.write_bytes(b"\xff" * len(fireworks.WEIGHTS["adapter_model.safetensors"]))
    with pytest.raises(UnavailableError, match="not what the storage says"):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == fireworks.WEIGHTS["adapter_model.safetensors"]


def test_a_part_longer_than_the_file_is_thrown_away(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    (part,) = tmp_path.glob(".model.*.part/.adapter_model*.part")
    part.write_bytes(b"x" * 10_000_000)
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == fireworks.WEIGHTS["adapter_model.safetensors"]


def test_bytes_that_are_not_what_the_storage_says_are_not_kept(
    rig: FireworksRig, tuned: TunedModel, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    (part,) = tmp_path.glob(".model.*.part/.adapter_model*.part")
    part.write_bytes(b"\xff" * part.stat().st_size)
    with pytest.raises(UnavailableError, match="not what the storage says"):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == fireworks.WEIGHTS["adapter_model.safetensors"]


def test_an_address_that_expired_throws_no_part_away(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    rig.stub.break_next(BIG)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
    rig.stub.fail_next(BIG, status=403)
    with pytest.raises(UnavailableError, match="HTTP 403"):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
    assert len(list(tmp_path.glob(".model.*.part/.adapter_model*.part"))) == 1


@pytest.mark.parametrize(
    "name", ["../escape", "/etc/escape", "a/../../escape", ".hidden", "a\\..\\b", "a//b", "manifest.json", "a\nb", ""]
)
def test_a_file_that_would_lie_elsewhere_is_not_written(
    rig: FireworksRig, tuned: TunedModel, tmp_path: Path, name: str
) -> None:
    rig.stub.weights = {name: b"x"}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RejectedError, match="not written"):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
    assert sorted(tmp_path.rglob("*")) == before
    assert rig.calls(WEIGHTS) == 0


def test_files_in_folders_keep_their_place(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    rig.stub.weights = {"tokenizer/vocab.json": b"{}"}
    rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
    assert (tmp_path / "model" / "tokenizer" / "vocab.json").read_bytes() == b"{}"


def test_a_redirect_of_the_storage_is_not_followed(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    with Trap() as trap:
        rig.stub.redirect_next(WEIGHTS, to=trap.origin, status=302)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.export(tuned, to="adapter", out=tmp_path / "model")
        assert trap.calls() == []


def test_an_address_without_https_is_not_asked(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    rig.stub.storage = "http://storage.example"
    with pytest.raises(RejectedError, match="https"):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "model")


def test_a_page_instead_of_addresses_is_none(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    rig.stub.html_next(GIVE)
    with pytest.raises(MalformedAnswerError):
        rig.provider.export(tuned, to="adapter", out=tmp_path / "model")


def test_a_folder_with_something_in_it_is_left_alone(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(RejectedError, match="not empty"):
        rig.provider.export(tuned, to="adapter", out=out)
    (out / "mine").unlink()
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_config.json").is_file()


def test_what_is_not_handed_out_is_said(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="the adapter, not 'merged'"):
        rig.provider.export(tuned, to="merged", out=tmp_path / "model")
    for name in ("accounts/me/models/../x", "accounts/stub-account/models/unknown"):
        with pytest.raises(NotFoundError):
            other = tuned.model_copy(update={"name": name})
            rig.provider.export(other, to="adapter", out=tmp_path / "model")


def test_a_disk_that_takes_nothing_is_told_in_one_line(rig: FireworksRig, tuned: TunedModel, tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    with pytest.raises(Exception, match="Not a directory") as caught:
        rig.provider.export(tuned, to="adapter", out=blocked / "model")
    assert not isinstance(caught.value, (OSError, ProviderError))
