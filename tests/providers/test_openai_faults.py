"""OpenAI when things go wrong: each fault ends in the one error on which the engine acts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ClosedError,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
)
from anytune.providers.openai import OpenAIProvider
from tests.providers._openai import ANY_JOB, JOBS, MODEL, chats, data_file, provider, request
from tests.providers._openai import started as start
from tests.stubs._http import Trap
from tests.stubs._process import served
from tests.stubs.openai import OpenAIStub


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as running:
        yield running


@pytest.fixture
def openai(stub: OpenAIStub) -> OpenAIProvider:
    return provider(stub)


# what the provider says


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_value", RejectedError),
        (403, "training_not_available", ClosedError),
        (403, "unsupported_country", RejectedError),
        (404, None, NotFoundError),
        (408, None, AmbiguousError),
        (409, None, RejectedError),
        (413, None, RejectedError),
        (422, None, RejectedError),
        (429, "rate_limit_exceeded", RateLimitedError),
        (429, "insufficient_quota", QuotaError),
        (500, None, AmbiguousError),
        (503, None, AmbiguousError),
    ],
)
def test_each_refusal_is_one_of_ours_and_is_sent_once(
    stub: OpenAIStub, openai: OpenAIProvider, status: int, code: str | None, kind: type[AnytuneError]
) -> None:
    fault = {"message": "No, not this.", "type": "invalid_request_error", "param": "suffix", "code": code}
    stub.fail_next(JOBS, status=status, body={"error": fault})
    with pytest.raises(kind, match="No, not this") as caught:
        openai.create(request(openai, "file-1"))
    assert type(caught.value) is kind
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert len(stub.journal) == 1


def test_the_field_that_was_refused_is_named(openai: OpenAIProvider) -> None:
    with pytest.raises(RejectedError) as caught:
        openai.create(request(openai, "file-unknown"))
    assert caught.value.param == "training_file"
    body = request(openai, "file-unknown")
    body["method"]["supervised"]["hyperparameters"]["n_epochs"] = 51
    with pytest.raises(RejectedError) as caught:
        openai.create(body)
    assert caught.value.param == "method.supervised.hyperparameters.n_epochs"


def test_a_model_that_is_not_tunable_is_refused(openai: OpenAIProvider, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="not available for fine-tuning"):
        start(openai, tmp_path, model="gpt-4")


def test_a_closed_organisation_and_an_empty_account_are_told(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    stub.closed = True
    with pytest.raises(ClosedError):
        start(openai, tmp_path)
    stub.closed, stub.spent = False, True
    with pytest.raises(QuotaError):
        start(openai, tmp_path)
    assert stub.jobs == {}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "3600"}, 3600.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
        ({}, None),
    ],
)
def test_the_time_that_the_provider_names_is_handed_on(
    stub: OpenAIStub, openai: OpenAIProvider, headers: dict[str, str], wait: float | None
) -> None:
    stub.fail_next(ANY_JOB, status=429, headers=headers, body={"error": {"message": "slow down"}})
    with pytest.raises(RateLimitedError) as caught:
        openai.retrieve("ftjob-1")
    assert caught.value.retry_after == wait
    assert len(stub.journal) == 1


def test_a_key_that_was_renewed_is_taken_up(stub: OpenAIStub, tmp_path: Path) -> None:
    keys = ["sk-old"]
    at = provider(stub, key=lambda: keys[-1])
    for act in (lambda: at.retrieve("ftjob-1"), lambda: at.upload(data_file(tmp_path, chats(12)))):
        with pytest.raises(KeyRefusedError):
            act()
    keys.append(stub.key)
    assert start(at, tmp_path).id


def test_the_key_never_shows(stub: OpenAIStub) -> None:
    wrong = provider(stub, key=lambda: "sk-wrong-key-of-mine")
    with pytest.raises(KeyRefusedError) as refused:
        wrong.retrieve("ftjob-1")
    stub.fail_next(ANY_JOB, status=400, body={"error": {"message": "key sk-wrong-key-of-mine is odd"}})
    with pytest.raises(RejectedError, match="<key>") as rejected:
        wrong.retrieve("ftjob-1")
    for error in (refused.value, rejected.value):
        assert "sk-wrong" not in f"{error} {error!r} {error.fix} {error.__cause__}"
    assert "sk-wrong" not in repr(wrong) + repr(wrong.generator(base=MODEL, tuned=None))


# the way to the provider


def test_a_redirect_is_not_followed_and_the_other_origin_sees_nothing(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    with Trap() as trap:
        for pattern in ("POST */files", JOBS, ANY_JOB):
            stub.redirect_next(pattern, to=trap.origin)
        with pytest.raises(RejectedError, match="redirected"):
            openai.upload(data_file(tmp_path, chats(12)))
        with pytest.raises(RejectedError, match="redirected"):
            openai.create(request(openai, "file-1"))
        with pytest.raises(RejectedError, match="redirected"):
            openai.retrieve("ftjob-1")
        assert trap.journal == []


@pytest.mark.parametrize("part", ["headers", "body"])
def test_an_answer_that_drips_ends_at_the_deadline(stub: OpenAIStub, tmp_path: Path, part: Any) -> None:
    start(provider(stub), tmp_path)
    hasty = provider(stub, timeout=0.4)
    stub.drip_next(ANY_JOB, pace=0.02, part=part)
    began = time.monotonic()
    with pytest.raises(AmbiguousError, match="no whole answer"):
        hasty.retrieve("ftjob-000001")
    assert 0.3 < time.monotonic() - began < 10  # all of it would take 12 s or more


@pytest.mark.parametrize("fault", ["drop_next", "break_next"])
def test_a_lost_answer_to_create_is_in_doubt_and_the_job_is_found(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path, fault: str
) -> None:
    file_id = openai.upload(data_file(tmp_path, chats(12)))
    getattr(stub, fault)(JOBS, **({"when": "after"} if fault == "drop_next" else {}))
    with pytest.raises(AmbiguousError):
        openai.create(request(openai, file_id))
    assert len(stub.calls(JOBS)) == 1
    assert [openai.find("tides-1").id] == list(stub.jobs)  # type: ignore[union-attr]


def test_a_create_that_never_arrived_is_in_doubt_too_and_nothing_is_found(
    stub: OpenAIStub, openai: OpenAIProvider
) -> None:
    stub.drop_next(JOBS, when="before")
    with pytest.raises(AmbiguousError):
        openai.create(request(openai, "file-1"))
    assert len(stub.calls(JOBS)) == 1
    assert openai.find("tides-1") is None


def test_a_lost_answer_to_an_upload_does_not_send_the_file_twice(
    stub: OpenAIStub, openai: OpenAIProvider, tmp_path: Path
) -> None:
    file = data_file(tmp_path, chats(12))
    stub.drop_next("POST */files", when="after")
    with pytest.raises(AmbiguousError):
        openai.upload(file)
    assert [openai.upload(file)] == list(stub.files)


def test_a_server_that_is_not_there_has_surely_done_nothing() -> None:
    with OpenAIStub() as gone:
        at = provider(gone)
    with pytest.raises(UnavailableError):
        at.create(request(at, "file-1"))


@pytest.mark.engine
def test_a_client_killed_while_it_waits_for_create_leaves_one_job_that_the_next_finds(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from anytune.providers import load; "
        "from anytune.providers.base import Profile; "
        "p = load('openai', Profile(name='openai', home=Path('.'), key=lambda: sys.argv[2], base_url=sys.argv[1]));"
        "p.create({'model': sys.argv[4], 'training_file': sys.argv[3], 'metadata': {'anytune_job': 'tides-1'}})"
    )
    with served("tests.stubs.openai", state=tmp_path) as server, OpenAIStub() as keys:
        at = provider(keys, base_url=f"{server.origin}/v1")
        file_id = at.upload(data_file(tmp_path, chats(12)))
        server.order("drip_next", pattern=JOBS, pace=60, part="headers")
        command = [sys.executable, "-c", code, f"{server.origin}/v1", keys.key, file_id, MODEL]
        client = subprocess.Popen(command)
        deadline = time.monotonic() + 30
        while server.journal()[-1]["path"] != "/v1/fine_tuning/jobs" and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        found = at.find("tides-1")
        created = [call for call in server.journal() if (call["method"], call["path"]) == tuple(JOBS.split())]
    assert found is not None
    assert len(created) == 1
