"""Fireworks' upload: datasets named by their content, the key and the bytes only where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.errors import (
    AmbiguousError,
    ConflictError,
    KeyRefusedError,
    MalformedAnswerError,
    RejectedError,
    UnavailableError,
)
from anytune.testing.rig import sample_file
from tests.providers._fireworks import DATASETS, PLACE, PUT, VALIDATE, FireworksRig, running
from tests.stubs._http import Trap
from tests.stubs.fireworks import ACCOUNT, FireworksStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: FireworksStub) -> FireworksRig:
    return FireworksRig(tmp_path, stub)


def test_an_upload_is_a_look_a_name_a_place_the_bytes_and_a_check(rig: FireworksRig) -> None:
    file = rig.file()
    name = rig.provider.upload(file)
    assert name == f"accounts/{ACCOUNT}/datasets/at-{file.sha256[:48]}"
    assert [call.route for call in rig.stub.calls()] == [
        f"GET /v1/{name}",
        DATASETS,
        f"POST /v1/{name}:getUploadEndpoint",
        f"PUT /storage/{name}/data.jsonl",
        f"POST /v1/{name}:validateUpload",
    ]
    assert rig.stub.datasets[name].files == {"data.jsonl": file.path.read_bytes()}
    assert rig.stub.datasets[name].shown["state"] == "READY"
    assert rig.stub.datasets[name].shown["exampleCount"] == "12"


def test_the_storage_never_sees_the_key(rig: FireworksRig) -> None:
    rig.provider.upload(rig.file())
    (call,) = rig.stub.calls(PUT)
    assert "authorization" not in call.headers
    assert rig.key not in str(call.headers)


def test_bytes_that_are_there_are_not_sent_again(rig: FireworksRig) -> None:
    first = rig.provider.upload(rig.file())
    assert rig.provider.upload(rig.file()) == first
    assert rig.calls(PUT) == 1


def test_a_name_without_bytes_is_filled_by_the_next_upload(rig: FireworksRig) -> None:
    rig.stub.drop_next(PUT)
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    name = rig.provider.upload(rig.file())
    assert rig.stub.datasets[name].shown["state"] == "READY"
    assert rig.calls(DATASETS) == 1


def test_whoever_was_quicker_with_the_same_bytes_is_no_obstacle(rig: FireworksRig) -> None:
    rig.stub.drop_next(DATASETS, when="after")
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())
    rig.stub.fail_next("GET /v1/*datasets/*", status=404, body={"code": 5, "message": "not yet"})
    name = rig.provider.upload(rig.file())
    assert rig.stub.datasets[name].shown["state"] == "READY"


def test_bytes_still_on_their_way_are_left_to_the_next_step(rig: FireworksRig) -> None:
    rig.stub.landing = 1
    name = rig.provider.upload(rig.file())
    assert rig.stub.datasets[name].shown["state"] == "UPLOADING"
    rig.provider.create(rig.request(training_file=name))
    assert rig.remote_jobs() == 1


def test_faulty_data_are_refused_with_the_services_word_before_a_job(rig: FireworksRig, tmp_path: Path) -> None:
    name = rig.provider.upload(sample_file(tmp_path, examples=2))
    with pytest.raises(RejectedError, match="at least 3 examples"):
        rig.provider.create(rig.request(training_file=name))
    assert rig.remote_jobs() == 0


def test_data_that_changed_since_the_check_are_not_sent(rig: FireworksRig) -> None:
    file = rig.file()
    file.path.write_bytes(file.path.read_bytes() + b"{}\n")
    with pytest.raises(ConflictError):
        rig.provider.upload(file)
    assert rig.calls() == 0


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_of_the_storage_carries_no_data_away(rig: FireworksRig, status: int) -> None:
    with Trap() as trap:
        rig.stub.redirect_next(PUT, to=trap.origin, status=status)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.upload(rig.file())
        assert trap.calls() == []


def test_a_place_without_https_gets_nothing(rig: FireworksRig) -> None:
    rig.stub.storage = "http://storage.example"
    with pytest.raises(RejectedError, match="https") as caught:
        rig.provider.upload(rig.file())
    assert "signature" not in str(caught.value)
    assert rig.calls(PUT) == 0


def test_a_dataset_that_must_be_encrypted_here_gets_no_plain_bytes(rig: FireworksRig) -> None:
    rig.stub.encryption = "ENCRYPTION_STATE_CMEK"
    with pytest.raises(RejectedError, match="encrypted before it is sent"):
        rig.provider.upload(rig.file())
    assert rig.calls(PUT) == 0


def test_a_dataset_that_takes_no_bytes_any_more_is_told_with_the_way_out(rig: FireworksRig) -> None:
    rig.stub.fail_next(PLACE, status=405, body={"code": 9, "message": "method not allowed"})
    with pytest.raises(RejectedError) as caught:
        rig.provider.upload(rig.file())
    assert caught.value.fix is not None
    assert "delete this dataset" in caught.value.fix


def test_a_place_that_expired_is_asked_for_again(rig: FireworksRig) -> None:
    rig.stub.fail_next(PUT, status=403)
    with pytest.raises(UnavailableError):
        rig.provider.upload(rig.file())
    rig.provider.upload(rig.file())
    assert rig.calls(PLACE) == 2


@pytest.mark.parametrize("pattern", [DATASETS, PLACE])
def test_a_page_instead_of_an_answer_is_none(rig: FireworksRig, pattern: str) -> None:
    rig.stub.html_next(pattern)
    with pytest.raises(MalformedAnswerError):
        rig.provider.upload(rig.file())


def test_a_check_that_could_not_be_asked_for_is_no_success(rig: FireworksRig) -> None:
    rig.stub.fail_next(VALIDATE, status=503)
    with pytest.raises(AmbiguousError):
        rig.provider.upload(rig.file())


def test_a_wrong_key_sends_no_data(rig: FireworksRig) -> None:
    rig.stub.key = "another-key"
    with pytest.raises(KeyRefusedError):
        rig.provider.upload(rig.file())
    assert rig.calls(PUT) == 0
