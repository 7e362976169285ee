"""Archives of models: whole ones are unpacked as they are, each bad one is refused and writes nothing elsewhere."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.errors import RejectedError
from anytune.providers import _archive, _weights
from anytune.providers._archive import Unpacked
from tests.amount import examples
from tests.stubs import _archives as archives
from tests.stubs._archives import Packed, member, packed, tarred, tensors

GOOD = archives.adapter()
WEIGHTS = "adapter_model.safetensors"


def unpack(folder: Path, content: bytes) -> tuple[Path, Unpacked]:
    """Unpack below `folder/into`; whatever comes of it, nothing may lie beside it."""
    source, into = folder / "archive", folder / "into"
    source.write_bytes(content)
    into.mkdir()
    try:
        return into, _archive.unpack(source, into, provider="together")
    finally:
        assert sorted(path.name for path in folder.iterdir()) == ["archive", "into"]


def refused(folder: Path, content: bytes, why: str) -> None:
    with pytest.raises(RejectedError, match=why) as caught:
        unpack(folder, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zst", "gz", "tar"])
def test_a_whole_archive_comes_out_as_it_went_in(tmp_path: Path, kind: Packed) -> None:
    into, done = unpack(tmp_path, archives.archive(GOOD, kind))
    assert {name: (into / name).read_bytes() for name in GOOD} == GOOD
    assert done.files == {name: hashlib.sha256(content).hexdigest() for name, content in GOOD.items()}
    assert done.left_out == []


def test_folders_are_made_where_files_need_them_and_one_around_all_is_seen_through(tmp_path: Path) -> None:
    folders = [member(name, type=tarfile.DIRTYPE) for name in ("./", "./model", "./model/empty")]
    files = [member(f"./model/{name}", content) for name, content in GOOD.items()]
    into, done = unpack(tmp_path, packed(tarred([*folders, *files])))
    place, seen = _archive.lifted(into, done)
    assert sorted(path.name for path in place.iterdir()) == sorted(seen.files) == sorted(GOOD)


def test_an_archive_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    raw = tarred(member(name, content) for name, content in GOOD.items())
    half = len(raw) // 2
    _, done = unpack(tmp_path, packed(raw[:half]) + packed(raw[half:]))
    assert set(done.files) == set(GOOD)


def test_pickles_and_unknown_kinds_are_left_out_and_named(tmp_path: Path) -> None:
    others = {"training_args.bin": b"\x80\x04.", "optimizer.PT": b"x", "modeling.py": b"import os", "noname": b""}
    into, done = unpack(tmp_path, archives.archive({**others, **GOOD}))
    assert sorted(path.name for path in into.iterdir()) == sorted(GOOD)
    assert set(done.left_out) == set(others)


@pytest.mark.parametrize(
    "name",
    [
        "../escape.json",
        "/etc/escape.json",
        "a/../../escape.json",
        ".hidden.json",
        "a\\..\\b.json",
        "a//b.json",
        "a/./b.json",
        "~/b.json",
        "-rf.json",
        "a\nb.json",
        "x" * 300 + ".json",
        "/".join("abcdefghi") + ".json",
    ],
)
def test_a_name_that_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, packed(tarred([member(name, b"{}")])), "no safe name")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, packed(tarred([member("a.json", type=kind, linkname="/etc/passwd")])), "link, a device")


def test_a_link_to_write_through_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    link = member("out", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    refused(tmp_path, packed(tarred([link, member("out/a.json", b"{}")])), "link, a device")


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, packed(tarred([member("a.json", b"{}"), member("./a.json", b"[]")])), "twice")


@pytest.mark.parametrize("name", ["a.json", "a.bin"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(_archive, "SMALL", 1_000_000)
    refused(tmp_path, packed(tarred([member(name, bytes(5_000_000))])), "far more than weights can")
    assert list((tmp_path / "into").iterdir()) == []


def test_a_bomb_in_a_header_is_refused(tmp_path: Path) -> None:
    bomb = member("a.json", b"{}", pax_headers={"comment": "x" * 20_000_000})
    refused(tmp_path, packed(tarred([bomb])), "larger than it may be")


def test_a_bomb_after_the_end_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, packed(tarred([member("a.json", b"{}")]) + bytes(20_000_000)), "larger than it may be")


def test_very_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive, "MOST_FILES", 20)
    refused(tmp_path, archives.archive({f"{n}.json": b"{}" for n in range(21)}), "far more than weights can")


@pytest.mark.parametrize("kind", ["zst", "gz", "tar"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.98])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, kind: Packed, share: float) -> None:
    whole = archives.archive({**GOOD, **{f"{n}.json": os.urandom(600) for n in range(20)}}, kind)
    refused(tmp_path, whole[: int(len(whole) * share)], "damaged or cut off")


def test_a_tar_cut_between_two_files_is_refused(tmp_path: Path) -> None:
    raw = tarred([member("a.json", bytes(512)), member("b.json", bytes(512))])
    refused(tmp_path, packed(raw[:1024]), "mark of its end is missing")


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html><title>Sign in</title>", b"\x28\xb5\x2f\xfdjunk", b"\x1f\x8bjunk"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, "damaged or cut off")


SPARSE = {"GNU.sparse.map": "0,1,2,3", "GNU.sparse.size": "9"}


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data())
def test_whatever_stands_in_the_headers_it_is_unpacked_or_refused(data: st.DataObject) -> None:
    named = member("b.json", b"{}", pax_headers={"comment": "x" * 40})
    raw = bytearray(tarred([member("a.json", b"{}" * 300), named, member("c.json", b"{}", pax_headers=SPARSE)]))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) // 2))] = data.draw(st.integers(0, 255))
    for at in range(0, len(raw), 512):
        if raw[at + 257 : at + 262] == b"ustar":  # or the fault would end at the checksum
            total = 256 + sum(raw[at : at + 148]) + sum(raw[at + 156 : at + 512])
            raw[at + 148 : at + 156] = b"%06o\0 " % total
    with tempfile.TemporaryDirectory() as folder, suppress(RejectedError):
        unpack(Path(folder), bytes(raw))


def looked_at(folder: Path, files: dict[str, bytes], *, kind: str = "adapter", left_out: Any = ()) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    _weights.require_whole(folder, Unpacked(dict.fromkeys(files, ""), list(left_out)), kind=kind, provider="together")


def test_a_whole_model_passes(tmp_path: Path) -> None:
    looked_at(tmp_path, archives.adapter())
    looked_at(tmp_path, archives.merged(), kind="merged")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({WEIGHTS: GOOD[WEIGHTS][:-1]}, "not a whole safetensors"),
        ({WEIGHTS: GOOD[WEIGHTS] + b"x"}, "not a whole safetensors"),
        ({WEIGHTS: b""}, "not a whole safetensors"),
        ({WEIGHTS: b"\x80\x04" + bytes(100)}, "not a whole safetensors"),
        ({WEIGHTS: (2).to_bytes(8, "little") + b"{}"}, "not a whole safetensors"),
        ({WEIGHTS: (2**40).to_bytes(8, "little") + b"{}"}, "not a whole safetensors"),
        ({"adapter_config.json": None}, "no adapter_config.json"),
        ({WEIGHTS: None}, "holds no safetensors"),
    ],
)
def test_a_model_that_is_not_whole_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    files = {name: content for name, content in {**GOOD, **changes}.items() if content is not None}
    with pytest.raises(RejectedError, match=why):
        looked_at(tmp_path, files)


def test_a_shard_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    files = archives.merged()
    files.pop("model-00002-of-00002.safetensors")
    with pytest.raises(RejectedError, match=r"model-00002-of-00002\.safetensors is missing"):
        looked_at(tmp_path, files, kind="merged")


def test_pickled_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match=r"pickle \(pytorch_model\.bin\)") as caught:
        looked_at(tmp_path, {"config.json": b"{}"}, kind="merged", left_out=["modeling.py", "pytorch_model.bin"])
    assert "\n" not in str(caught.value)


def test_our_own_safetensors_are_read_by_the_real_library(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    assert list(numpy.load(tensors(64))) == ["lora_A"]
