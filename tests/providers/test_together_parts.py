"""Together's upload in parts: the same bytes, in order, gone on with after a fault, and nothing left open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    ConflictError,
    KeyRefusedError,
    MalformedAnswerError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.providers.base import Reused
from anytune.providers.together.upload import Parts
from tests.providers._together import CREATE, TogetherRig, running
from tests.stubs._http import Trap
from tests.stubs.together import TogetherStub

INITIATE = "POST /v1/files/multipart/initiate"
COMPLETE = "POST /v1/files/multipart/complete"
ABORT = "POST /v1/files/multipart/abort"
PUT = "PUT /storage/parts/*"
MIB = 1024 * 1024


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    """Cut the sample file, of about two thousand bytes, into five parts."""
    rig = TogetherRig(tmp_path, stub)
    rig.provider = type(rig.provider)(rig.provider._gateway.profile, parts=Parts(above=500, size=100, most=5))
    return rig


def numbers(rig: TogetherRig) -> list[int]:
    return [int(call.path.rpartition("/")[2]) for call in rig.stub.calls(PUT)]


def test_the_parts_make_the_file_and_the_job_runs_on_it(rig: TogetherRig) -> None:
    file = rig.file()
    file_id = rig.provider.upload(file)
    assert rig.stub.files[file_id].content == file.path.read_bytes()
    assert numbers(rig) == [1, 2, 3, 4, 5]
    assert [call.route for call in rig.stub.calls() if call.method == "POST"] == [
        INITIATE,
        COMPLETE,
        f"POST /v1/files/{file_id}/preprocess",
    ]
    asked = rig.stub.calls(INITIATE)[0].json
    assert (asked["file_size"], asked["num_parts"], asked["checksum"]) == (file.bytes, 5, file.sha256)
    assert rig.provider.create(rig.request(training_file=file_id)).id in rig.stub.jobs
    assert rig.stub.store.begun == {}


def test_the_storage_never_sees_the_key_and_is_told_each_length(rig: TogetherRig) -> None:
    rig.provider.upload(rig.file())
    for call in rig.stub.calls(PUT):
        assert rig.key not in str(call.headers)
        assert call.headers["content-length"] == str(len(call.body))


def test_bytes_that_are_there_are_not_sent_again(rig: TogetherRig) -> None:
    first = rig.provider.upload(rig.file())
    second = rig.provider.upload(rig.file())
    assert second == first
    assert (isinstance(first, Reused), isinstance(second, Reused)) == (False, True)
    assert rig.calls(PUT) == 5


@pytest.mark.parametrize("fault", ["drop before", "drop after", "500", "429"])
def test_a_part_that_failed_is_sent_again_and_no_other(rig: TogetherRig, fault: str) -> None:
    if fault.startswith("drop"):
        rig.stub.drop_next(f"{PUT}/3", when="after" if fault == "drop after" else "before")
    else:
        rig.stub.fail_next(f"{PUT}/3", status=int(fault))
    with pytest.raises(Exception) as caught:
        rig.provider.upload(rig.file())
    assert not isinstance(caught.value, (RejectedError, UsageError))
    file_id = rig.provider.upload(rig.file())
    assert numbers(rig) == [1, 2, 3, 3, 4, 5]
    assert rig.stub.files[file_id].content == rig.file().path.read_bytes()
    assert rig.calls(INITIATE) == 1
    assert rig.stub.store.begun == {}


def test_an_address_that_expired_is_given_up_for_new_ones(rig: TogetherRig) -> None:
    rig.stub.fail_next(f"{PUT}/4", status=403)
    with pytest.raises(UnavailableError, match="403"):
        rig.provider.upload(rig.file())
    assert rig.calls(ABORT) == 1
    rig.provider.upload(rig.file())
    assert rig.calls(INITIATE) == 2
    assert rig.stub.store.begun == {}


def test_a_part_that_is_refused_leaves_nothing_open(rig: TogetherRig) -> None:
    rig.stub.fail_next(f"{PUT}/2", status=400)
    with pytest.raises(RejectedError):
        rig.provider.upload(rig.file())
    assert rig.calls(ABORT) == 1
    assert rig.stub.store.begun == {}


def test_an_abort_that_fails_does_not_hide_the_fault(rig: TogetherRig) -> None:
    rig.stub.fail_next(f"{PUT}/2", status=400)
    rig.stub.fail_next(ABORT, status=500)
    with pytest.raises(RejectedError, match="HTTP 400"):
        rig.provider.upload(rig.file())


def test_a_lost_answer_to_the_end_finds_the_whole_file(rig: TogetherRig) -> None:
    rig.stub.drop_next(COMPLETE, when="after")
    for _ in range(2):  # lost, then "no such upload"
        with pytest.raises(AmbiguousError):
            rig.provider.upload(rig.file())
    file_id = rig.provider.upload(rig.file())
    assert (rig.calls(PUT), rig.calls(ABORT)) == (5, 0)  # what may be whole is not thrown away
    assert rig.stub.files[file_id].status == "RUNNING"
    assert len(rig.stub.files) == 1


def test_an_end_that_never_came_is_asked_for_again(rig: TogetherRig) -> None:
    rig.stub.drop_next(COMPLETE, when="before")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    rig.provider.upload(rig.file())
    assert (rig.calls(PUT), rig.calls(COMPLETE)) == (5, 2)


def test_a_file_that_changed_between_two_tries_goes_no_further(rig: TogetherRig) -> None:
    file = rig.file()
    rig.stub.drop_next(f"{PUT}/3")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(file)
    file.path.write_bytes(file.path.read_bytes().replace(b"What", b"when"))
    with pytest.raises(ConflictError, match="changed"):
        rig.provider.upload(file)
    assert numbers(rig) == [1, 2, 3]


def test_a_redirect_of_a_part_moves_no_byte(rig: TogetherRig) -> None:
    with Trap() as elsewhere:
        rig.stub.redirect_next(f"{PUT}/1", to=elsewhere.origin)
        with pytest.raises(RejectedError, match="redirected"):
            rig.provider.upload(rig.file())
        assert elsewhere.journal == []


def test_parts_travel_by_https_or_stay_on_this_machine(rig: TogetherRig) -> None:
    rig.stub.storage = "http://storage.example"
    with pytest.raises(RejectedError, match="not reached by https"):
        rig.provider.upload(rig.file())
    assert rig.calls(PUT) == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"upload_id": "u", "file_id": "f", "parts": []},
        {"upload_id": "u", "file_id": "f", "parts": [{"PartNumber": 1, "URL": "https://s3.amazonaws.com/1"}]},
        {
            "upload_id": "u",
            "file_id": "../f",
            "parts": [{"PartNumber": n, "URL": "https://s3.amazonaws.com/"} for n in range(1, 6)],
        },
        {"file_id": "f", "parts": [{"PartNumber": n, "URL": "https://s3.amazonaws.com/"} for n in range(1, 6)]},
        {"upload_id": "u", "file_id": "f", "parts": [None, 3, {"PartNumber": "1"}]},
    ],
)
def test_an_answer_that_does_not_say_where_is_none(rig: TogetherRig, body: Any) -> None:
    rig.stub.fail_next(INITIATE, status=200, body=body)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())
    assert rig.calls(PUT) == 0


def test_other_spellings_of_a_place_are_understood(rig: TogetherRig) -> None:
    file_id = rig.provider.upload(rig.file())
    parts = [
        {"part_number": n, "UploadURL": f"/storage/parts/u/{n}?signature=stub", "Headers": None} for n in range(1, 6)
    ]
    rig.stub.files[file_id].content = None
    rig.stub.fail_next(INITIATE, status=200, body={"upload_id": "u", "file_id": file_id, "parts": parts})
    with pytest.raises(UnavailableError):  # understood: the storage, which does not know it, was asked
        rig.provider.upload(rig.file())
    assert rig.stub.calls(PUT)[-1].path == "/storage/parts/u/1"


def test_a_part_without_a_name_is_sent_again(rig: TogetherRig) -> None:
    rig.stub.fail_next(f"{PUT}/2", status=200, body=b"")
    with pytest.raises(MalformedAnswerError, match="part 2"):
        rig.provider.upload(rig.file())
    rig.provider.upload(rig.file())
    assert numbers(rig) == [1, 2, 2, 3, 4, 5]


def test_a_refused_key_is_told(rig: TogetherRig) -> None:
    rig.stub.key = "another"
    with pytest.raises(KeyRefusedError):
        rig.provider.upload(rig.file())
    assert rig.calls(CREATE) == rig.calls(PUT) == 0


@pytest.mark.parametrize(
    ("length", "count", "longest"),
    [
        (5 * 1024 * MIB + 1, 21, 250 * MIB),
        (int(50.1 * 1024) * MIB, 206, 250 * MIB),
        (100 * 1024 * MIB, 250, 429_496_730),
    ],
)
def test_a_file_is_cut_as_the_vendor_cuts_it(length: int, count: int, longest: int) -> None:
    cuts = Parts().cut(length)
    assert (len(cuts), max(size for _, size in cuts)) == (count, longest)
    assert [start for start, _ in cuts] == [n * longest for n in range(count)]
    assert sum(size for _, size in cuts) == length
