"""Together's upload: three calls, the key only where it belongs, the bytes only where they were meant to go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import (
    AmbiguousError,
    ConflictError,
    KeyRefusedError,
    MalformedAnswerError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from tests.providers._together import CREATE, PUT, TogetherRig, running
from tests.stubs._http import Trap, multipart
from tests.stubs.together import TogetherStub

RESERVE = "POST /v1/files"
PREPROCESS = "POST /v1/files/*/preprocess"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


def routes(rig: TogetherRig) -> list[str]:
    return [call.route for call in rig.stub.calls()]


def test_an_upload_is_three_calls(rig: TogetherRig) -> None:
    file = rig.file()
    file_id = rig.provider.upload(file)
    assert routes(rig) == [RESERVE, f"PUT /storage/{file_id}", f"POST /v1/files/{file_id}/preprocess"]
    form = {name: content.decode() for name, (_, content) in multipart(rig.stub.journal[0]).items()}
    assert form == {
        "purpose": "fine-tune",
        "file_name": "train.jsonl",
        "file_type": "jsonl",
        "checksum": file.sha256,
    }
    assert rig.stub.files[file_id].content == file.path.read_bytes()


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": "file-of-another"}])
def test_an_answer_about_no_file_is_not_taken_for_its_checks(rig: TogetherRig, answer: dict[str, object]) -> None:
    file = rig.file()
    rig.stub.fail_next(PREPROCESS, status=200, body=answer)
    with pytest.raises(MalformedAnswerError, match="not about"):
        rig.provider.upload(file)
    file_id = rig.provider.upload(file)
    assert len(rig.stub.calls(PUT)) == 1, "the bytes went twice"
    assert len(rig.stub.calls(PREPROCESS)) == 2
    assert rig.stub.files[file_id].status != "PENDING", "no job could ever use it"


def test_the_storage_never_sees_the_key_and_is_told_the_length(rig: TogetherRig) -> None:
    file = rig.file()
    rig.provider.upload(file)
    (call,) = rig.stub.calls(PUT)
    assert rig.key not in str(call.headers)
    assert call.headers["content-length"] == str(file.bytes)
    assert "transfer-encoding" not in call.headers


def test_the_same_bytes_are_sent_once(rig: TogetherRig) -> None:
    first = rig.provider.upload(rig.file())
    assert rig.provider.upload(rig.file()) == first
    assert rig.calls(PUT) == rig.calls(PREPROCESS) == 1


def test_a_file_that_has_changed_since_its_check_goes_nowhere(rig: TogetherRig) -> None:
    file = rig.file()
    file.path.write_bytes(file.path.read_bytes().replace(b"What", b"when"))
    with pytest.raises(ConflictError, match="changed"):
        rig.provider.upload(file)
    assert routes(rig) == []


def test_a_length_that_is_not_the_files_goes_nowhere_near_the_storage(rig: TogetherRig) -> None:
    file = rig.file()
    with pytest.raises(ConflictError, match="changed"):
        rig.provider.upload(file.model_copy(update={"bytes": file.bytes + 1}))
    assert rig.calls(PUT) == 0


def test_a_storage_that_never_answers_is_left_at_the_deadline(tmp_path: Path, stub: TogetherStub) -> None:
    rig = TogetherRig(tmp_path, stub, upload_timeout=0.5)
    stub.drip_next(PUT, pace=0.2, part="headers")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())


def test_a_file_that_is_gone_is_the_users_matter(rig: TogetherRig) -> None:
    file = rig.file()
    file.path.unlink()
    with pytest.raises(UsageError, match=r"train\.jsonl"):
        rig.provider.upload(file)
    assert routes(rig) == []


def test_a_file_too_large_for_one_upload_goes_nowhere(rig: TogetherRig) -> None:
    with pytest.raises(UsageError, match="more than one upload"):
        rig.provider.upload(rig.file().model_copy(update={"bytes": 51 * 1024**3}))
    assert routes(rig) == []


def test_a_refused_key_is_not_taken_for_missing_credit(rig: TogetherRig) -> None:
    rig.stub.key = "another"
    with pytest.raises(KeyRefusedError) as caught:
        rig.provider.upload(rig.file())
    assert "credit" not in str(caught.value)
    assert rig.key not in str(caught.value)
    assert routes(rig) == [RESERVE]


def test_bytes_known_as_faulty_are_refused_with_the_report(rig: TogetherRig) -> None:
    file_id = rig.provider.upload(rig.file())
    stored = rig.stub.files[file_id]
    stored.steps, stored.status = [], "INVALID_FORMAT"
    stored.report = {"valid": False, "error": "Line 7: unknown role"}
    with pytest.raises(RejectedError, match=f"{rig.file().path}:7: unknown role$") as caught:
        rig.provider.upload(rig.file())
    assert "mend the file" in str(caught.value.fix)


def test_data_found_faulty_at_once_are_refused_at_once(rig: TogetherRig) -> None:
    rig.stub.file_life = ("FAILED",)
    with pytest.raises(RejectedError, match="FAILED"):
        rig.provider.upload(rig.file())


def test_an_expired_place_is_surely_not_done_and_the_next_one_is_taken(rig: TogetherRig) -> None:
    rig.stub.fail_next(PUT, status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(UnavailableError, match="403"):
        rig.provider.upload(rig.file())
    file_id = rig.provider.upload(rig.file())
    assert rig.stub.files[file_id].content is not None
    assert rig.calls(RESERVE) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, UnavailableError), (408, AmbiguousError), (429, RateLimitedError), (503, AmbiguousError)],
)
def test_trouble_at_the_storage_may_be_tried_again(rig: TogetherRig, status: int, kind: type[Exception]) -> None:
    rig.stub.fail_next(PUT, status=status)
    with pytest.raises(kind):
        rig.provider.upload(rig.file())
    assert rig.provider.upload(rig.file()) in rig.stub.files


def test_a_connection_lost_in_the_bytes_leaves_one_whole_file_after_the_next_try(rig: TogetherRig) -> None:
    rig.stub.drop_next(PUT)
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    rig.provider.upload(rig.file())
    assert [file.content is not None for file in rig.stub.files.values()] == [False, True]


def test_a_process_ended_before_the_checks_were_asked_for_is_made_good(rig: TogetherRig) -> None:
    rig.stub.drop_next(PREPROCESS)
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    request = rig.request(training_file=rig.provider.upload(rig.file()))
    assert rig.calls(PUT) == 1
    assert rig.provider.create(request).id in rig.stub.jobs


def test_a_lost_answer_to_the_checks_needs_no_second_upload(rig: TogetherRig) -> None:
    rig.stub.drop_next(PREPROCESS, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    rig.provider.upload(rig.file())
    assert rig.calls(PUT) == rig.calls(PREPROCESS) == 1
    assert len(rig.stub.files) == 1


def test_a_redirect_of_the_storage_moves_no_byte(rig: TogetherRig) -> None:
    with Trap() as elsewhere:
        rig.stub.redirect_next(PUT, to=elsewhere.origin)
        with pytest.raises(RejectedError, match="redirected"):
            rig.provider.upload(rig.file())
        assert elsewhere.journal == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_api_is_no_reservation(rig: TogetherRig, status: int) -> None:
    with Trap() as elsewhere:
        rig.stub.redirect_next(RESERVE, to=elsewhere.origin, status=status)
        with pytest.raises(RejectedError, match="redirected"):
            rig.provider.upload(rig.file())
        assert elsewhere.journal == []


@pytest.mark.parametrize("place", ["http://storage.example", "ftp://storage.example", "file://"])
def test_bytes_travel_by_https_or_stay_on_this_machine(rig: TogetherRig, place: str) -> None:
    rig.stub.storage = place
    with pytest.raises(RejectedError, match="not reached by https") as caught:
        rig.provider.upload(rig.file())
    assert "signature" not in str(caught.value)
    assert routes(rig) == [RESERVE]


@pytest.mark.parametrize("file_id", ["../files", "a/b", "-rf", "file 1"])
def test_an_id_that_is_no_id_is_not_built_into_a_path(rig: TogetherRig, file_id: str) -> None:
    headers = {"Location": f"{rig.stub.origin}/storage/x", "X-Together-File-Id": file_id}
    rig.stub.fail_next(RESERVE, status=302, headers=headers)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())
    rig.stub.fail_next(RESERVE, status=409, body={"file_id": file_id})
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())
    assert set(routes(rig)) == {RESERVE}


def test_a_success_without_a_place_is_no_answer(rig: TogetherRig) -> None:
    rig.stub.html_next(RESERVE)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())
    headers = {"Location": f"{rig.stub.origin}/storage/x", "X-Together-File-Id": "file-1"}
    rig.stub.fail_next(RESERVE, status=200, headers=headers)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())
    assert rig.calls(PUT) == 0


def test_half_a_conflict_is_no_refusal_and_the_file_is_taken_up_by_the_next_try(rig: TogetherRig) -> None:
    file = rig.file()
    file_id = rig.provider.upload(file)
    rig.stub.cut_next(RESERVE)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(file)
    assert rig.provider.upload(file) == file_id


def test_a_conflict_that_names_no_file_is_refused(rig: TogetherRig) -> None:
    rig.stub.fail_next(RESERVE, status=409, body={"message": "busy"})
    with pytest.raises(RejectedError, match="busy"):
        rig.provider.upload(rig.file())


def test_the_stand_in_refuses_a_key_at_the_storage(rig: TogetherRig) -> None:
    import httpx

    answer = httpx.put(f"{rig.stub.origin}/storage/x", headers={"Authorization": f"Bearer {rig.key}"})
    assert answer.status_code == 400
    assert rig.stub.calls(PUT)[0].status == 400
    assert rig.calls(CREATE) == 0
