"""Replicate's upload through real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import AmbiguousError, ConflictError, MalformedAnswerError, NotFoundError, RejectedError, UsageError
from anytune.providers.base import DeletesFiles, Reused
from tests.providers._replicate import LIST, UPLOAD, ReplicateRig, running
from tests.stubs._http import multipart


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateRig]:
    with running(tmp_path, monkeypatch) as stub:
        yield ReplicateRig(tmp_path, stub)


def test_the_very_bytes_are_sent_under_a_name_made_of_their_hash(rig: ReplicateRig) -> None:
    file = rig.file()
    address = rig.provider.upload(file)
    (call,) = rig.stub.calls(UPLOAD)
    name, content = multipart(call)["content"]
    assert content == file.path.read_bytes()
    assert name == f"{file.sha256[:48]}.jsonl"
    assert address == f"{rig.stub.origin}/v1/files/{next(iter(rig.stub.files))}"


def test_bytes_that_lie_there_unused_are_not_sent_again(rig: ReplicateRig) -> None:
    rig.stub.page = 1
    rig.stub.drop_next(UPLOAD, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    assert isinstance(rig.provider.upload(rig.file()), Reused)
    assert rig.calls(UPLOAD) == 1


def test_two_jobs_on_the_same_data_have_a_file_each(rig: ReplicateRig) -> None:
    first, second = rig.request("one-0123456789"), None
    rig.provider.create(first)
    second = rig.request("two-0123456789")
    assert first["input"]["train_data"] != second["input"]["train_data"]
    assert rig.calls(UPLOAD) == 2


def test_trainings_of_before_a_file_was_there_are_not_looked_through(rig: ReplicateRig) -> None:
    for number in range(5):
        rig.stub.set(rig.start(f"old-{number}"), created_at="2020-01-01T00:00:00Z")
    rig.stub.page = 2
    address = rig.provider.upload(rig.file())
    before = rig.calls(LIST)
    assert rig.provider.upload(rig.file()) == address
    assert rig.calls(LIST) == before + 1


def test_a_file_that_may_expire_before_it_is_read_is_sent_anew(rig: ReplicateRig) -> None:
    first = rig.provider.upload(rig.file())
    row = rig.stub.files[first.rpartition("/")[2]]
    row["created_at"] = "2020-01-01T00:00:00Z"
    assert rig.provider.upload(rig.file()) != first
    row["expires_at"] = None
    assert rig.provider.upload(rig.file()) != first


def test_a_service_that_has_other_bytes_is_not_believed(rig: ReplicateRig) -> None:
    rig.stub.fail_next(UPLOAD, status=201, body={"id": "x", "checksums": {"sha256": "0" * 64}})
    with pytest.raises(MalformedAnswerError, match="other bytes"):
        rig.provider.upload(rig.file())


def test_a_file_that_the_service_finds_too_large_is_refused(rig: ReplicateRig) -> None:
    rig.stub.fail_next(UPLOAD, status=413, body=b"<html>Request Entity Too Large</html>")
    with pytest.raises(RejectedError):
        rig.provider.upload(rig.file())


def test_more_than_one_upload_may_carry_is_not_begun(rig: ReplicateRig) -> None:
    with pytest.raises(UsageError, match="more than one upload"):
        rig.provider.upload(rig.file().model_copy(update={"bytes": (100 << 20) + 1}))
    assert rig.calls() == 0


def test_a_file_that_changed_is_not_sent(rig: ReplicateRig) -> None:
    file = rig.file()
    file.path.write_text("{}\n")
    with pytest.raises(ConflictError):
        rig.provider.upload(file)
    assert rig.calls() == 0


def test_a_file_is_removed_and_one_that_is_gone_harms_nothing(rig: ReplicateRig) -> None:
    assert isinstance(rig.provider, DeletesFiles)
    address = rig.provider.upload(rig.file())
    for _ in range(2):
        rig.provider.delete_file(address)
    assert rig.stub.files == {}
    with pytest.raises(NotFoundError):
        rig.provider.delete_file("https://api.replicate.com/v1/files/../models/me/mine")
