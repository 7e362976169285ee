"""Hugging Face Jobs beyond the contract: what goes to the Hub, where, how often, and what never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from anytune import errors
from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    ProviderError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.local.hf_jobs.gateway import Hub
from anytune.providers.base import Reused
from tests.providers._hub import CREATE, JOB_ID, JOBS, LIST, LOOK, PUT, REPOSITORY, HubRig, hub_id, running
from tests.stubs._http import Trap
from tests.stubs.hub import NAMESPACE, HubStub
from tests.stubs.hub import REPOSITORY as NAME

PREUPLOAD, COMMIT = f"POST {REPOSITORY}/preupload/*", f"POST {REPOSITORY}/commit/*"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    with running(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path, stub: HubStub) -> HubRig:
    return HubRig(tmp_path, stub)


def test_the_repository_is_made_private_before_the_first_byte_goes_there(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    assert rig.stub.calls("POST /api/repos/create")[0].json["visibility"] == "private"
    assert rig.stub.shelf.repositories[NAME].private is True


def test_a_repository_that_others_can_read_gets_nothing(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    rig.stub.shelf.repositories[NAME].private = False
    before = rig.calls("POST *") + rig.calls("PUT *")
    for act in (lambda: rig.provider.upload(rig.file()), rig.start):
        with pytest.raises(RejectedError, match="can be read by others"):
            act()
    assert rig.calls("POST *") + rig.calls("PUT *") == before


@pytest.mark.parametrize("large_from", [10_000_000, 0])
def test_data_that_lie_there_are_not_sent_again(rig: HubRig, large_from: int) -> None:
    rig.stub.large_from = large_from
    file = rig.file()
    first, second = rig.provider.upload(file), rig.provider.upload(file)
    assert first == second == f"file-{file.sha256}"
    assert (isinstance(first, Reused), isinstance(second, Reused)) == (False, True)
    assert rig.calls(f"POST {REPOSITORY}/commit/main") == 1
    assert rig.calls(PUT) == (1 if large_from == 0 else 0)
    assert rig.stub.shelf.repositories[NAME].files[f"files/{file.sha256}.jsonl"] == file.path.read_bytes()


def test_a_large_file_goes_to_the_storage_without_the_key(rig: HubRig) -> None:
    rig.stub.large_from = 0
    rig.provider.upload(rig.file())
    (put,) = rig.stub.calls(PUT)
    assert "authorization" not in put.headers
    assert put.headers["host"].startswith("localhost")


def test_a_storage_that_is_not_reached_by_https_gets_nothing(rig: HubRig) -> None:
    rig.stub.large_from, rig.stub.storage = 0, "http://storage.example"
    with pytest.raises(RejectedError, match="not reached by https"):
        rig.provider.upload(rig.file())


def test_the_key_is_not_sent_to_another_host_that_wants_it(rig: HubRig) -> None:
    rig.stub.large_from = 0
    with Trap() as trap:
        rig.stub.verifier = trap.origin
        with pytest.raises(RejectedError, match="the key was wanted"):
            rig.provider.upload(rig.file())
        assert trap.calls() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("pattern", [PREUPLOAD, COMMIT, PUT, CREATE, LOOK])
def test_a_redirect_carries_neither_key_nor_data_away(rig: HubRig, pattern: str, status: int) -> None:
    rig.stub.large_from = 0 if pattern == PUT else rig.stub.large_from
    with Trap() as trap:
        rig.stub.redirect_next(pattern, to=trap.origin, status=status)
        with pytest.raises(RejectedError, match="not followed"):
            rig.provider.upload(rig.file())
            rig.provider.retrieve(rig.start())
        assert trap.calls() == []


@pytest.mark.parametrize("status", [307, 503])
def test_several_small_weights_of_one_commit_leave_by_the_guarded_client_too(
    rig: HubRig, tmp_path: Path, status: int
) -> None:
    hub, files = Hub(rig.profile()), {}
    for number in range(3):
        files[f"model/{number}.safetensors"] = tmp_path / f"{number}.safetensors"
        files[f"model/{number}.safetensors"].write_bytes(bytes([number]) * 100)
    with Trap() as trap:
        if status == 307:
            rig.stub.redirect_next(PUT, to=trap.origin, status=status)
        else:
            rig.stub.fail_next(PUT, status=status)
        with pytest.raises(ProviderError):
            hub.commit(hub.repository(), files, message="weights")
        assert trap.calls() == []
    assert rig.calls(PUT) == 1
    hub.commit(hub.repository(), files, message="weights")
    assert len(hub.listed(NAME, "model", act="look")) == 3


def test_the_next_page_of_a_list_is_not_asked_for_elsewhere(rig: HubRig) -> None:
    for number in range(3):
        rig.start(f"job-{number}")
    with Trap() as trap:
        link = {"Link": f'<{trap.origin}{JOBS}?cursor=2>; rel="next"'}
        rig.stub.fail_next(LIST, status=200, headers=link, body=[])
        with pytest.raises(RejectedError, match="the key was wanted"):
            rig.provider.find("job-0")
        assert trap.calls() == []


def test_a_job_is_found_beyond_the_first_page(rig: HubRig) -> None:
    ids = [rig.start(f"job-{number}") for number in range(5)]
    for number, id in enumerate(ids):
        found = rig.provider.find(f"job-{number}")
        assert found is not None
        assert found.id == id


def test_an_id_that_no_label_can_carry_as_it_is_is_found_by_one_made_of_it(rig: HubRig) -> None:
    ids = ["v1.2-7f3a9c2b10", "v1-2-7f3a9c2b10"]
    made = [rig.start(id) for id in ids]
    for id, remote_id in zip(ids, made, strict=True):
        found = rig.provider.find(id)
        assert found is not None
        assert (found.id, found.seen_job_id) == (remote_id, id)
        rig.finish(remote_id)
        assert rig.provider.retrieve(remote_id).model == f"hf://datasets/{NAME}/jobs/{id}/model"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 502}, {"status": 503}, {"status": 408}])
def test_the_library_does_not_send_a_create_again_by_itself(rig: HubRig, fault: dict[str, Any]) -> None:
    rig.stub.fail_next(CREATE, when="after", **fault)
    with pytest.raises(AmbiguousError):
        rig.start()
    assert rig.calls(CREATE) == 1
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert found.seen_job_id == JOB_ID


@pytest.mark.parametrize(
    "pattern",
    [PREUPLOAD, "POST */objects/batch", PUT, COMMIT, f"GET {REPOSITORY}"],
)
def test_the_library_repeats_no_step_of_an_upload_and_does_not_sleep(
    rig: HubRig, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"slept {seconds} s"))
    rig.stub.large_from = 0
    for fault in ({"status": 503}, {"status": 429, "headers": {"Retry-After": "30"}}):
        rig.stub.fail_next(pattern, **fault)
        before = rig.calls(pattern)
        with pytest.raises(errors.ProviderError):
            rig.provider.upload(rig.file())
        assert rig.calls(pattern) == before + 1


@pytest.mark.parametrize("pattern", [f"GET {REPOSITORY}", f"POST {REPOSITORY}/paths-info/*", COMMIT])
def test_what_fails_before_the_create_has_surely_started_nothing(rig: HubRig, pattern: str) -> None:
    rig.stub.drop_next(pattern)
    with pytest.raises(UnavailableError):
        rig.start()
    assert rig.remote_jobs() == 0
    assert rig.calls(CREATE) == 0


def test_the_key_goes_out_as_a_secret_alone(rig: HubRig) -> None:
    request = rig.request()
    id = hub_id(rig.provider.create(request).id)
    body = rig.stub.calls(CREATE)[-1].json
    assert body.pop("secrets") == {"HF_TOKEN": rig.key}
    assert rig.key not in json.dumps([body, request, rig.stub.jobs[id]])


def test_the_namespace_is_the_keys_owner_where_none_is_named(tmp_path: Path, stub: HubStub) -> None:
    rig = HubRig(tmp_path, stub, account=None)
    assert rig.start().startswith(f"{NAMESPACE}/")
    assert rig.calls("GET /api/whoami-v2") == 1


@pytest.mark.parametrize("account", ["a/b", "..", "a b", ""])
def test_a_namespace_that_is_none_goes_nowhere(tmp_path: Path, stub: HubStub, account: str) -> None:
    with pytest.raises(UsageError, match="no name of a user"):
        HubRig(tmp_path, stub, account=account).start()
    assert stub.calls() == []


def test_a_commit_that_came_second_is_surely_not_made(rig: HubRig) -> None:
    rig.stub.fail_next(f"POST {REPOSITORY}/commit/*", status=412, body={"error": "A commit has happened since"})
    with pytest.raises(UnavailableError):
        rig.provider.upload(rig.file())


def test_a_renewed_key_is_asked_for_after_a_refusal(rig: HubRig) -> None:
    id = rig.start()
    rig.stub.key = "hf_renewed"
    with pytest.raises(KeyRefusedError):
        rig.provider.retrieve(id)
    rig.key = "hf_renewed"
    assert rig.provider.retrieve(id).id == id


def test_offline_mode_is_heeded(rig: HubRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        rig.start()
    assert rig.calls() == 0


def test_the_environment_says_neither_where_the_hub_is_nor_who_asks(
    rig: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trap() as trap:
        monkeypatch.setenv("HF_ENDPOINT", trap.origin)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", trap.origin)
        monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
        rig.provider.upload(rig.file())
        rig.provider.retrieve(rig.start())
        assert trap.calls() == []
    assert {call.headers.get("authorization") for call in rig.stub.calls("/api/*")} == {f"Bearer {rig.key}"}
    assert not [call for call in rig.stub.calls() if "torch" in call.headers["user-agent"]]


def test_the_programs_own_calls_of_the_library_keep_their_client(rig: HubRig) -> None:
    rig.provider.upload(rig.file())
    with Trap() as trap:
        rig.stub.redirect_next("GET /api/whoami-v2", to=trap.origin)
        with pytest.raises(KeyError):  # it follows the redirect, as it does without us, and finds `{}` there
            huggingface_hub.HfApi(endpoint=rig.stub.origin, token=rig.key).whoami()["name"]
        assert len(trap.calls()) == 1


def test_a_client_that_the_program_sets_later_does_not_get_our_calls(rig: HubRig) -> None:
    import httpx2

    rig.provider.upload(rig.file())

    def refuse(request: Any) -> None:
        raise AssertionError(f"went by the program's own client: {request.url}")

    huggingface_hub.set_client_factory(lambda: httpx2.Client(event_hooks={"request": [refuse]}))
    try:
        rig.start()
    finally:
        from huggingface_hub.utils._http import default_client_factory

        huggingface_hub.set_client_factory(default_client_factory)
