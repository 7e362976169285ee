"""A zip of somebody else's is unpacked to plain files of known kinds, or not at all."""

from __future__ import annotations

import hashlib
import random
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from anytune.errors import RejectedError
from anytune.providers import _zip


def packed(folder: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "weights.zip"
    with zipfile.ZipFile(path, "w", method) as handle:
        for name, content in members:
            handle.writestr(name, content)
    return path


def unpacked(path: Path) -> _zip.Unpacked:
    into = path.with_suffix("")
    into.mkdir()
    return _zip.unpack(path, into, provider="x")


def linked(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


def test_plain_files_come_out_with_their_hashes_in_their_folders(tmp_path: Path) -> None:
    path = packed(tmp_path, ("a.json", b"{}"), ("sub/", b""), ("sub/b.safetensors", b"w"))
    made = unpacked(path)
    assert made.files == {
        "a.json": hashlib.sha256(b"{}").hexdigest(),
        "sub/b.safetensors": hashlib.sha256(b"w").hexdigest(),
    }
    assert (tmp_path / "weights" / "sub" / "b.safetensors").read_bytes() == b"w"


def test_pickles_and_unknown_kinds_are_left_out(tmp_path: Path) -> None:
    made = unpacked(packed(tmp_path, ("adapter_model.bin", b"p"), ("run.sh", b"s"), ("a.json", b"{}")))
    assert made.left_out == ["adapter_model.bin", "run.sh"]
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "name",
    ["../a.json", "/etc/a.json", "a/../../b.json", "a//b.json", ".hidden.json", "a\\b.json", "C:/a.json", "a\n.json"],
)
def test_an_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RejectedError, match="no safe name"):
        unpacked(packed(tmp_path, (name, b"{}")))
    assert not (tmp_path / "a.json").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="no plain file"):
        unpacked(packed(tmp_path, (linked("a.json"), b"/etc/passwd")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["a.json", "A.json"])
def test_a_name_that_comes_twice_is_refused(tmp_path: Path, again: str) -> None:
    with pytest.raises(RejectedError, match="twice"):
        unpacked(packed(tmp_path, ("a.json", b"{}"), (again, b"[]")))


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="far more than weights"):
        unpacked(packed(tmp_path, ("a.safetensors", bytes(80 << 20))))
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, ("a.json", bytes(1000)), method=zipfile.ZIP_STORED)
    raw = path.read_bytes()
    path.write_bytes(
        raw.replace((1000).to_bytes(4, "little") * 2, (1000).to_bytes(4, "little") + (9).to_bytes(4, "little"))
    )
    with pytest.raises(RejectedError):
        unpacked(path)


@pytest.mark.parametrize("damage", ["cut", "changed", "none"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    path = packed(tmp_path, ("a.json", b"content that is known"), method=zipfile.ZIP_STORED)
    raw = path.read_bytes()
    path.write_bytes({"cut": raw[:-10], "changed": raw.replace(b"known", b"other"), "none": b"PK nothing"}[damage])
    with pytest.raises(RejectedError, match="damaged"):
        unpacked(path)


def test_other_methods_of_packing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="no plain file"):
        unpacked(packed(tmp_path, ("a.json", b"{}"), method=zipfile.ZIP_LZMA))


def test_an_archive_that_is_damaged_anywhere_is_refused_and_nothing_else(tmp_path: Path) -> None:
    path = packed(tmp_path, ("adapter_config.json", b"{}" * 40), ("sub/a.safetensors", bytes(range(256))))
    whole, chance = path.read_bytes(), random.Random(7)
    for number in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, chance.randrange(256)))
        path.write_bytes(damaged)
        into = tmp_path / str(number)
        into.mkdir()
        with suppress(RejectedError):
            _zip.unpack(path, into, provider="x")


def test_a_directory_by_which_a_file_begins_before_the_archive_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, ("a.json", b"{}" * 40))
    raw = bytearray(path.read_bytes())
    place = raw.index(b"PK\x05\x06") + 16
    raw[place : place + 2] = b"\xff\xff"
    path.write_bytes(raw)
    with pytest.raises(RejectedError, match="damaged"):
        unpacked(path)
