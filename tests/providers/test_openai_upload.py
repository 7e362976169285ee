"""A file that is too large for one call of OpenAI's goes in parts and is there once and whole, or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import AmbiguousError, ConflictError, RateLimitedError, RejectedError, UnavailableError
from anytune.providers.base import Reused
from anytune.providers.openai import OpenAIProvider
from anytune.providers.openai import upload as uploads
from anytune.schema.data import DataFile
from anytune.schema.job import Sending
from tests.providers._openai import chats, data_file, ended, provider, request
from tests.stubs._openai_manners import OWN
from tests.stubs._openai_rest import Upload
from tests.stubs.openai import OpenAIStub

BEGIN, PARTS, COMPLETE = "POST */uploads", "POST */parts", "POST */complete"
CANCEL = "POST */uploads/*/cancel"


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as running:
        yield running


def small_limits(at: OpenAIProvider, monkeypatch: pytest.MonkeyPatch) -> OpenAIProvider:
    """Let a provider take a few hundred bytes for much."""
    vars(at._speech)["dialect"] = at._speech.dialect.model_copy(update={"parts_above": 500})
    monkeypatch.setattr(uploads, "PART", 300)
    return at


def only(stub: OpenAIStub) -> Upload:
    (upload,) = stub.rest.uploads.values()
    return upload


@pytest.fixture
def openai(stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch) -> OpenAIProvider:
    return small_limits(provider(stub), monkeypatch)


class Sender:
    """Send files as the engine does: what was noted last of an upload is given to the next call."""

    def __init__(self, at: OpenAIProvider) -> None:
        self.at = at
        self.noted: Sending | None = None

    def upload(self, file: DataFile) -> str:
        return self.at.resume_upload(file, begun=self.noted, note=self.note)

    def note(self, sending: Sending | None) -> None:
        self.noted = sending


@pytest.fixture
def sender(openai: OpenAIProvider) -> Sender:
    return Sender(openai)


def test_a_large_file_goes_in_parts_and_is_the_same_file(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))
    file_id = openai.upload(file)
    assert stub.files[file_id].content == file.path.read_bytes()
    assert len(stub.calls(PARTS)) == -(-file.bytes // 300) > uploads.AT_ONCE
    assert stub.calls("POST */files") == []
    assert openai.upload(file) == file_id
    assert len(stub.calls(BEGIN)) == 1
    assert ended(openai, openai.create(request(openai, file_id))).model


def test_a_small_file_goes_in_one_call(stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path) -> None:
    openai.upload(data_file(tmp_path, chats(4)))
    assert stub.calls(BEGIN) == []


def test_a_part_that_fails_leaves_no_file_and_begins_no_further_parts(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(400))
    stub.fail_next(PARTS, status=400, body={"error": {"message": "no such part"}})
    with pytest.raises(RejectedError, match="no such part"):
        openai.upload(file)
    assert stub.files == {}
    assert stub.calls(COMPLETE) == []
    assert len(stub.calls(PARTS)) < file.bytes // 300 / 2
    assert stub.files[openai.upload(file)].content == file.path.read_bytes()

    assert len(stub.calls(CANCEL)) == 1


def test_a_part_that_fails_for_now_is_sent_again_by_itself(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))
    stub.drop_next(PARTS, skip=2)
    assert stub.files[openai.upload(file)].content == file.path.read_bytes()
    assert (len(stub.calls(BEGIN)), len(stub.calls(PARTS))) == (1, -(-file.bytes // 300) + 1)


@pytest.mark.parametrize("status", [429, 503])
def test_an_upload_that_broke_off_is_gone_on_with(
    stub: OpenAIStub, sender: Sender, tmp_path: Path, status: int
) -> None:
    file = data_file(tmp_path, chats(40))
    tried = 1 if status == 429 else uploads.TRIES * uploads.AT_ONCE
    stub.fail_next(PARTS, status=status, skip=4, times=tried, body={"error": {"message": "later"}})
    with pytest.raises((AmbiguousError, RateLimitedError)):
        sender.upload(file)
    assert stub.calls(CANCEL) == []
    there = len(only(stub).parts)
    assert there > 0
    before = len(stub.calls(PARTS))
    stub.settle()
    assert stub.files[sender.upload(file)].content == file.path.read_bytes()
    assert len(stub.calls(BEGIN)) == 1
    assert len(stub.calls(PARTS)) - before == -(-file.bytes // 300) - there


def test_a_part_that_may_be_there_twice_makes_the_upload_begin_anew_where_it_is_refused(
    stub: OpenAIStub, sender: Sender, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))
    stub.drop_next(PARTS, when="after", skip=2)
    with pytest.raises(UnavailableError, match="part ids"):
        sender.upload(file)
    assert len(stub.calls(CANCEL)) == 1
    assert stub.files[sender.upload(file)].content == file.path.read_bytes()


def test_an_upload_that_the_server_forgot_is_begun_anew(stub: OpenAIStub, sender: Sender, tmp_path: Path) -> None:
    file = data_file(tmp_path, chats(40))
    stub.fail_next(PARTS, status=429, skip=3, body={"error": {"message": "later"}})
    with pytest.raises(RateLimitedError):
        sender.upload(file)
    only(stub).shown["status"] = "expired"
    with pytest.raises(UnavailableError, match="expired"):
        sender.upload(file)
    assert stub.files[sender.upload(file)].content == file.path.read_bytes()


def test_a_lost_answer_to_the_last_call_does_not_send_the_file_twice(
    stub: OpenAIStub, sender: Sender, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))
    stub.drop_next(COMPLETE, when="after")
    with pytest.raises(AmbiguousError):
        sender.upload(file)
    found = sender.upload(file)
    assert [found] == list(stub.files)
    assert not isinstance(found, Reused)
    assert len(stub.calls(BEGIN)) == 1


def test_ctrl_c_ends_an_upload_at_once_and_what_is_there_is_noted(
    stub: OpenAIStub, sender: Sender, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))

    def interrupted(sending: Sending | None) -> None:
        sender.note(sending)
        if sending is not None and len(sending.parts) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sender.at.resume_upload(file, begun=None, note=interrupted)
    assert sender.noted is not None
    assert len(stub.calls(PARTS)) <= 2 + uploads.AT_ONCE
    assert stub.files[sender.upload(file)].content == file.path.read_bytes()


def test_a_file_that_is_written_to_while_it_is_sent_is_a_conflict_and_no_file(
    stub: OpenAIStub, sender: Sender, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(40))

    def written_to(sending: Sending | None) -> None:
        sender.note(sending)
        if sending is not None and len(sending.parts) == 2:
            file.path.write_bytes(file.path.read_bytes().replace(b"Tide", b"Tied"))

    with pytest.raises(ConflictError, match="has changed"):
        sender.at.resume_upload(file, begun=None, note=written_to)
    assert stub.files == {}
    assert sender.noted is None


def test_parts_of_another_size_are_not_gone_on_with(stub: OpenAIStub, sender: Sender, tmp_path: Path) -> None:
    file = data_file(tmp_path, chats(40))
    sender.note(Sending(id="upload_of_an_older_version", size=7, parts={0: "part_1"}))
    assert stub.files[sender.upload(file)].content == file.path.read_bytes()
    assert len(stub.calls(BEGIN)) == 1


@pytest.mark.parametrize("pattern", [BEGIN, PARTS, COMPLETE])
@pytest.mark.parametrize("answer", [{}, {"id": ""}, {"id": "upload_1", "file": None}, b"<html>"])
def test_an_answer_that_is_none_is_not_taken_for_one(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, pattern: str, answer: object
) -> None:
    if pattern != COMPLETE and isinstance(answer, dict) and answer.get("id"):
        pytest.skip("that is one, there")
    stub.fail_next(pattern, status=200, body=answer)
    with pytest.raises(AmbiguousError):
        openai.upload(data_file(tmp_path, chats(40)))
    assert stub.files == {}


def test_a_server_of_ones_own_gets_every_file_in_one_call(tmp_path: Path) -> None:
    with OpenAIStub(manner=OWN) as own:
        assert provider(own, name="mine", like="openai")._speech.dialect.parts_above is None


def test_a_slice_reads_like_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        part = uploads.Slice(file, 2, 7)
        assert part.read() == b"23456"
        assert part.seek(0, io.SEEK_END) == part.tell() == 5
        assert part.seek(-2, io.SEEK_CUR) == 3
        assert (part.read(9), part.read(9)) == (b"56", b"")
        assert part.seek(1) == 1
        assert part.read(2) == b"34"
        assert file.tell() == 0
