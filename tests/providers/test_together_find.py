"""Jobs found again, and prices asked."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import (
    MalformedAnswerError,
    QuotaError,
    RateLimitedError,
)
from tests.providers._together import JOB_ID, LIST, TogetherRig, running
from tests.stubs.together import TogetherStub


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    with running(tmp_path, monkeypatch) as stub:
        yield stub


@pytest.fixture
def rig(tmp_path: Path, stub: TogetherStub) -> TogetherRig:
    return TogetherRig(tmp_path, stub)


def test_find_sees_a_new_job_once_the_list_shows_it(rig: TogetherRig) -> None:
    rig.stub.hide_new = 2
    remote_id = rig.start()
    assert [getattr(rig.provider.find(JOB_ID), "id", None) for _ in range(3)] == [None, None, remote_id]


def test_find_prefers_a_job_that_lives_to_a_newer_one_that_failed(rig: TogetherRig) -> None:
    lives, ended = rig.start(), rig.start()
    rig.stub.set(ended, status="error")
    assert getattr(rig.provider.find(JOB_ID), "id", None) == lives
    newest = rig.start()
    assert getattr(rig.provider.find(JOB_ID), "id", None) == newest


@pytest.mark.parametrize(
    "shown",
    [
        {"suffix": "AT-English-To-SQL-7f3a9c2b10"},
        {"suffix": None, "model_output_name": "acme/Qwen3.5-9B-at-english-to-sql-7f3a9c2b10-1f2e"},
    ],
)
def test_find_knows_our_id_in_a_text_that_the_service_changed(rig: TogetherRig, shown: dict[str, Any]) -> None:
    remote_id = rig.start()
    rig.stub.set(remote_id, **shown)
    found = rig.provider.find(JOB_ID)
    assert found is not None
    assert (found.id, found.seen_job_id) == (remote_id, JOB_ID)
    assert rig.provider.find("sql-7f3a9c2b1") is None


def test_a_suffix_that_names_another_job_does_not_make_it_that_one(rig: TogetherRig) -> None:
    rig.stub.set(rig.start("next-0123456789"), suffix=f"{JOB_ID}--next-0123456789")
    assert rig.provider.find(JOB_ID) is None
    assert rig.provider.find("next-0123456789") is not None


@pytest.mark.parametrize("body", [{}, [], {"data": None}, b"<html>"])
def test_find_never_says_no_to_a_list_that_is_none(rig: TogetherRig, body: Any) -> None:
    rig.stub.fail_next(LIST, status=200, body=body)
    with pytest.raises(MalformedAnswerError):
        rig.provider.find(JOB_ID)


def test_a_quote_is_in_dollars_and_asks_of_the_job_to_be_sent(rig: TogetherRig) -> None:
    request = rig.request()
    file = rig.stub.files[request["training_file"]]
    file.status = "RUNNING"
    with pytest.raises(RateLimitedError):
        rig.provider.quote(request)
    file.status = "COMPLETED"
    assert rig.provider.quote(request) == Decimal("4.0")
    assert set(rig.stub.calls("*estimate-price")[-1].json) < set(request)


def test_a_quote_above_the_accounts_limit_is_refused(rig: TogetherRig) -> None:
    request = rig.request()
    rig.stub.allowed = False
    with pytest.raises(QuotaError, match=r"\$4.00"):
        rig.provider.quote(request)


def test_data_that_cannot_be_priced_have_no_quote(rig: TogetherRig) -> None:
    unknown = {"estimation_available": False, "unavailable_reason": "multimodal_dataset"}
    rig.stub.fail_next("*estimate-price", status=200, body=unknown)
    assert rig.provider.quote(rig.request()) is None
