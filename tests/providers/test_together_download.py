"""The way home of a model from Together: whole or not at all, gone on with, and nowhere but into its folder."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import (
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    UnavailableError,
)
from anytune.providers.base import Checkpoints, Exports
from anytune.schema.model import TunedModel
from tests.providers._together import JOB_ID, MODEL, TogetherRig, running
from tests.stubs import _archives as archives
from tests.stubs._http import Trap
from tests.stubs.together import TogetherStub

GET = "GET /v1/finetune/download"
FROM_STORAGE = "GET /storage/models/*"
ADAPTER = archives.adapter()


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


@pytest.fixture
def tuned(rig: TogetherRig) -> TunedModel:
    return made(rig)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "model"


def made(rig: TogetherRig, remote_id: str | None = None) -> TunedModel:
    remote_id = remote_id or rig.start()
    rig.stub.finish(remote_id)
    model = rig.provider.retrieve(remote_id).model
    assert model is not None
    return TunedModel(provider="together", base=MODEL, name=model, job_id=JOB_ID, remote_id=remote_id)


def beside(out: Path) -> list[Path]:
    return sorted(path for path in out.parent.iterdir() if path.name.startswith(".") and path != out)


def broken(rig: TogetherRig, tuned: TunedModel, out: Path) -> Path:
    """Let a download be cut off in its middle, and return the part that stays."""
    rig.stub.break_next(GET)
    with pytest.raises(UnavailableError, match=r"cut off after \d+ of \d+ bytes") as caught:
        rig.provider.export(tuned, to="adapter", out=out)
    assert "goes on from there" in str(caught.value.fix)
    assert not out.exists()
    (part,) = out.parent.glob(".model.*.part/.archive.*.part")
    return part


def test_the_adapter_comes_whole_with_its_hashes_in_the_manifest(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    assert isinstance(rig.provider, Exports)
    manifest = rig.provider.export(tuned, to="adapter", out=out)
    for name, content in ADAPTER.items():
        assert (out / name).read_bytes() == content
        assert manifest["files"][name] == hashlib.sha256(content).hexdigest()
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert (manifest["kind"], manifest["base"], manifest["job_id"]) == ("adapter", MODEL, JOB_ID)
    assert (manifest["model"], "left_out" in manifest) == (tuned.name, False)
    assert beside(out) == []
    (call,) = rig.stub.calls(GET)
    assert call.query == {"ft_id": tuned.remote_id, "checkpoint": "adapter"}
    assert call.headers["range"] == "bytes=0-"


def test_the_whole_model_comes_when_it_is_asked_for(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    manifest = rig.provider.export(tuned, to="merged", out=out)
    assert manifest["kind"] == "merged"
    assert set(manifest["files"]) == set(archives.merged())


def test_a_fully_tuned_model_has_one_form(rig: TogetherRig, out: Path) -> None:
    full = made(rig, rig.provider.create(rig.request(training={"lora": None})).id)
    with pytest.raises(RejectedError, match="no adapter"):
        rig.provider.export(full, to="adapter", out=out)
    rig.provider.export(full, to="merged", out=out)
    assert rig.stub.calls(GET)[-1].query["checkpoint"] == "model_output_path"


def test_a_model_written_down_without_its_job_is_found_by_our_id(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    rig.provider.export(tuned.model_copy(update={"remote_id": None}), to="adapter", out=out)
    assert rig.stub.calls(GET)[-1].query["ft_id"] == tuned.remote_id
    with pytest.raises(NotFoundError, match="no job that made"):
        unknown = tuned.model_copy(update={"remote_id": None, "job_id": "other-0123456789"})
        rig.provider.export(unknown, to="adapter", out=out.with_name("other"))


@pytest.mark.parametrize("version", ["1", None])
def test_a_download_that_was_cut_off_goes_on_where_it_stopped(
    rig: TogetherRig, tuned: TunedModel, out: Path, version: str | None
) -> None:
    rig.stub.store.version = version
    part = broken(rig, tuned, out)
    have = part.stat().st_size
    assert 0 < have < len(rig.stub.store.models["adapter"])
    rig.provider.export(tuned, to="adapter", out=out)
    assert rig.stub.calls(GET)[-1].headers["range"] == f"bytes={have}-"
    assert (out / "adapter_model.safetensors").read_bytes() == ADAPTER["adapter_model.safetensors"]
    assert beside(out) == []


def test_a_download_cut_off_before_its_first_byte_is_begun_anew(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.drop_next(GET)
    with pytest.raises(ProviderError):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_config.json").is_file()


@pytest.mark.parametrize("change", ["version", "length"])
def test_a_part_of_another_archive_is_thrown_away(rig: TogetherRig, tuned: TunedModel, out: Path, change: str) -> None:
    rig.stub.store.version = "1" if change == "version" else None
    broken(rig, tuned, out)
    other = archives.adapter(200_000 if change == "version" else 210_000)
    other["adapter_config.json"] = b'{"r": 9}'
    rig.stub.store.models["adapter"] = archives.archive(other)
    rig.stub.store.version = "2" if change == "version" else None
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_config.json").read_bytes() == b'{"r": 9}'


def test_a_part_longer_than_the_archive_is_thrown_away(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    broken(rig, tuned, out).write_bytes(b"x" * 10_000_000)
    rig.provider.export(tuned, to="adapter", out=out)
    assert (out / "adapter_model.safetensors").read_bytes() == ADAPTER["adapter_model.safetensors"]


def test_a_part_of_the_adapter_is_no_part_of_the_whole_model(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    broken(rig, tuned, out)
    rig.provider.export(tuned, to="merged", out=out)
    assert rig.stub.calls(GET)[-1].headers["range"] == "bytes=0-"


def test_a_damaged_archive_is_refused_and_fetched_anew_the_next_time(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    whole = rig.stub.store.models["adapter"]
    rig.stub.store.models["adapter"] = whole[:-100]
    with pytest.raises(RejectedError, match="damaged or cut off"):
        rig.provider.export(tuned, to="adapter", out=out)
    assert (out.exists(), beside(out)) == (False, [])
    rig.stub.store.models["adapter"] = whole
    rig.provider.export(tuned, to="adapter", out=out)


def test_pickled_weights_are_refused_in_one_line_and_nothing_is_kept(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    pickled = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."}
    rig.stub.store.models["merged"] = archives.archive(pickled)
    with pytest.raises(RejectedError, match="can run code when it is loaded") as caught:
        rig.provider.export(tuned, to="merged", out=out)
    assert "\n" not in str(caught.value)
    assert (out.exists(), beside(out)) == (False, [])


def test_what_is_left_out_of_an_archive_is_named(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    more = {"training_args.bin": b"\x80\x04.", "manifest.json": b"{}"}
    rig.stub.store.models["adapter"] = archives.archive({**more, **ADAPTER})
    manifest = rig.provider.export(tuned, to="adapter", out=out)
    assert manifest["left_out"] == ["manifest.json", "training_args.bin"]
    assert json.loads((out / "manifest.json").read_text()) == manifest


def test_an_archive_at_the_storage_is_fetched_there_without_the_key(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    rig.stub.store.away = True
    rig.stub.break_next(FROM_STORAGE)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.provider.export(tuned, to="adapter", out=out)
    assert [call.status for call in rig.stub.calls(FROM_STORAGE)] == [206, 206]
    assert [call for call in rig.stub.calls(FROM_STORAGE) if rig.key in str(call.headers)] == []


def test_the_storages_own_redirect_is_not_followed(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.store.away = True
    with Trap() as trap:
        rig.stub.redirect_next(FROM_STORAGE, to=trap.origin, status=302)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.export(tuned, to="adapter", out=out)
        assert trap.calls() == []


def test_a_storage_without_https_is_not_asked(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.store.away, rig.stub.storage = True, "http://storage.example"
    with pytest.raises(RejectedError, match="https"):
        rig.provider.export(tuned, to="adapter", out=out)


def test_an_address_that_expired_throws_no_part_away(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.store.away = True
    rig.stub.break_next(FROM_STORAGE)
    with pytest.raises(UnavailableError):
        rig.provider.export(tuned, to="adapter", out=out)
    rig.stub.fail_next(FROM_STORAGE, status=403)
    with pytest.raises(UnavailableError, match="HTTP 403"):
        rig.provider.export(tuned, to="adapter", out=out)
    assert len(list(out.parent.glob(".model.*.part/.archive.*.part"))) == 1


def test_a_page_in_the_place_of_an_archive_is_none(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.html_next(GET)
    with pytest.raises(RejectedError, match="damaged or cut off"):
        rig.provider.export(tuned, to="adapter", out=out)
    assert beside(out) == []


def test_an_archive_of_unsaid_size_is_not_taken(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.fail_next(GET, status=206, body=b"x")
    with pytest.raises(MalformedAnswerError, match="how large"):
        rig.provider.export(tuned, to="adapter", out=out)


def test_a_model_that_is_not_merged_there_points_to_the_adapter(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    del rig.stub.store.models["merged"]
    with pytest.raises(NotFoundError) as caught:
        rig.provider.export(tuned, to="merged", out=out)
    assert "--to adapter" in str(caught.value.fix)


def test_a_refused_key_is_told_without_showing_it_and_asked_for_again(
    rig: TogetherRig, tuned: TunedModel, out: Path
) -> None:
    rig.stub.fail_next(GET, status=401, body={"error": {"message": rig.key}})
    with pytest.raises(KeyRefusedError) as caught:
        rig.provider.export(tuned, to="adapter", out=out)
    assert rig.key not in str(caught.value)
    rig.provider.export(tuned, to="adapter", out=out)


def test_what_is_not_handed_out_is_said(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    with pytest.raises(RejectedError, match="adapter or merged, not 'gguf'"):
        rig.provider.export(tuned, to="gguf", out=out)
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(RejectedError, match="not empty"):
        rig.provider.export(tuned, to="adapter", out=out)
    (out / "mine").unlink()
    rig.provider.export(tuned, to="adapter", out=out)


def test_a_disk_that_takes_nothing_is_told_in_one_line(rig: TogetherRig, tuned: TunedModel, tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    with pytest.raises(Exception, match="Not a directory") as caught:
        rig.provider.export(tuned, to="adapter", out=blocked / "model")
    assert not isinstance(caught.value, (OSError, ProviderError))


def test_a_large_archive_takes_little_memory(rig: TogetherRig, tuned: TunedModel, out: Path) -> None:
    rig.stub.store.models["adapter"] = archives.archive(archives.adapter(30_000_000))
    tracemalloc.start()
    rig.provider.export(tuned, to="adapter", out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45_000_000  # the stand-in's own answer is 30 MB of it, in the same process


@pytest.fixture
def early(rig: TogetherRig) -> TunedModel:
    """Be the model of step 1 of a job of two steps that has ended."""
    remote_id = rig.start()
    for _ in rig.stub.life:
        rig.provider.retrieve(remote_id)
    first, last = rig.provider.checkpoints(remote_id)
    assert (first.step, first.model, last.step) == (1, f"{remote_id}:1", 2)
    assert first.at is not None
    return made(rig, remote_id).model_copy(update={"name": first.model})


def test_the_model_of_a_step_comes_home(rig: TogetherRig, stub: TogetherStub, early: TunedModel, out: Path) -> None:
    assert isinstance(rig.provider, Checkpoints)
    manifest = rig.provider.export(early, to="adapter", out=out)
    assert stub.calls(GET)[-1].query == {"ft_id": early.remote_id, "checkpoint_step": "1"}
    assert (manifest["model"], manifest["kind"]) == (early.name, "adapter")
    assert (out / "adapter_model.safetensors").exists()


def test_the_last_step_is_the_model_itself_in_whatever_form(
    rig: TogetherRig, stub: TogetherStub, early: TunedModel, out: Path
) -> None:
    last = early.model_copy(update={"name": f"{early.remote_id}:2"})
    rig.provider.export(last, to="merged", out=out)
    assert stub.calls(GET)[-1].query == {"ft_id": early.remote_id, "checkpoint": "merged"}


def test_a_step_that_is_gone_or_has_another_form_is_told_before_a_download(
    rig: TogetherRig, stub: TogetherStub, early: TunedModel, out: Path
) -> None:
    with pytest.raises(RejectedError, match="step 1 as adapter"):
        rig.provider.export(early, to="merged", out=out)
    with pytest.raises(NotFoundError, match="step 7 is not kept any more"):
        rig.provider.export(early.model_copy(update={"name": f"{early.remote_id}:7"}), to="adapter", out=out)
    assert stub.calls(GET) == []


@pytest.mark.parametrize("step", [None, "1", -1, True, []])
def test_a_checkpoint_without_a_step_is_no_checkpoint(rig: TogetherRig, stub: TogetherStub, step: object) -> None:
    remote_id = rig.start()
    stub.fail_next("GET */checkpoints", status=200, body={"data": [{"step": step}]})
    with pytest.raises(MalformedAnswerError, match="has no step"):
        rig.provider.checkpoints(remote_id)
