"""A job goes elsewhere for the provider's own reasons alone, and never while the provider may have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ClosedError,
    ConflictError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    OverBudgetError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    RejectedError,
    UnavailableError,
    UsageError,
)
from anytune.schema.job import JobState, RemoteJob
from tests.rigs import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (ClosedError("no jobs any more"), True),
        (QuotaError("no credit"), True),
        (RejectedError("no such model", param="model"), True),
        (NotFoundError("no such model", param="model"), True),
        (UnavailableError("away"), True),
        (RateLimitedError("busy"), True),
        (OverBudgetError("too dear for the user"), False),
        (RejectedError("the file is faulty", param="training_file"), False),
        (RejectedError("bad request"), False),
        (NotFoundError("no such file"), False),
        (AmbiguousError("lost"), False),
        (MalformedAnswerError("HTML"), False),
        (KeyRefusedError("not this key"), False),
        (ConflictError("other content"), False),
        (RefusedError("the policy"), False),
        (UsageError("a typing error"), False),
    ],
)
def test_only_the_providers_own_reasons_count(error: AnytuneError, own: bool) -> None:
    assert jobs.is_own(error) is own


@pytest.mark.parametrize(
    "error", [ClosedError("closed"), QuotaError("no credit"), RejectedError("gone", param="model")]
)
def test_a_refusal_of_its_own_ends_the_record_at_once(bench: Bench, error: RejectedError) -> None:
    bench.service.faults["create"] = [error]
    with pytest.raises(type(error)):
        jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    (left,) = bench.store.list()
    assert (left.state, left.remote) == (JobState.FAILED, None)
    assert jobs.was_own(left)
    assert bench.service.calls.count("create") == 1


def test_an_outage_is_waited_for_as_long_as_it_may_last_and_then_left(bench: Bench) -> None:
    bench.service.faults["upload"] = [UnavailableError("away")] * 10_000
    before = bench.clock.monotonic()
    with pytest.raises(UnavailableError):
        jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    assert 0.5 * jobs.OUTAGE < bench.clock.monotonic() - before < 1.5 * jobs.OUTAGE
    (left,) = bench.store.list()
    assert jobs.was_own(left)


def test_an_outage_that_ends_in_time_changes_nothing(bench: Bench) -> None:
    bench.service.faults["upload"] = [UnavailableError("away")] * 8
    job = jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    assert job.remote is not None
    assert job.instead_of == ()
    assert bench.service.calls.count("create") == 1


def test_a_job_whose_answer_was_lost_before_the_outage_is_found_and_kept(bench: Bench) -> None:
    bench.service.faults |= {"lost": [AmbiguousError("dropped")], "find": [UnavailableError("away")] * 5}
    job = jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    assert job.remote is not None
    assert len(bench.service.jobs) == 1


def test_a_job_that_may_be_there_is_never_left_while_nobody_can_be_asked(bench: Bench) -> None:
    """To go elsewhere now could mean to pay twice."""
    bench.service.faults |= {"lost": [AmbiguousError("dropped")], "find": [UnavailableError("away")] * 10_000}
    with pytest.raises(AmbiguousError, match="may have") as caught:
        jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    assert not jobs.is_own(caught.value)
    (kept,) = bench.store.list()
    assert kept.state is JobState.SUBMITTING
    bench.service.faults.clear()
    assert jobs.refresh(kept.id, desk=bench.desk).remote is not None
    assert len(bench.service.jobs) == 1


def test_a_job_that_its_user_cancels_during_an_outage_goes_nowhere_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanted_no_more(_: object) -> RemoteJob:
        (job,) = bench.store.list()
        bench.store.put(job.model_copy(update={"cancel_wanted": True}))
        raise UnavailableError("away")

    monkeypatch.setattr("anytune.jobs.elsewhere.OUTAGE", 0.0)
    monkeypatch.setattr(bench.provider, "create", wanted_no_more)
    assert jobs.submit_or_leave(bench.plan(), desk=bench.desk).state is JobState.CANCELLED


@pytest.mark.parametrize("refusal", [ClosedError("closed"), QuotaError("one job at a time")])
def test_a_refusal_after_a_lost_answer_is_no_reason_to_go_before_another_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusal: RejectedError
) -> None:
    """The list lags behind for longer than it should, and the job that it does not show fills the quota."""
    bench.service.faults |= {"lost": [AmbiguousError("dropped")]}
    create, find = bench.provider.create, bench.provider.find

    def create_once(request: dict[str, Any]) -> RemoteJob:
        if bench.service.jobs:
            raise refusal
        return create(request)

    monkeypatch.setattr(bench.provider, "create", create_once)
    late = bench.clock.monotonic() + jobs.LIST_LAG + 10
    monkeypatch.setattr(bench.provider, "find", lambda job_id: find(job_id) if bench.clock.monotonic() > late else None)
    job = jobs.submit_or_leave(bench.plan(), desk=bench.desk)
    assert job.remote is not None
    assert len(bench.service.jobs) == 1


def test_who_refused_before_stands_in_the_record(bench: Bench) -> None:
    job = jobs.submit_or_leave(bench.plan(), desk=bench.desk, instead_of=("openai: closed",))
    assert bench.store.get(job.id).instead_of == ("openai: closed",)
    assert jobs.submit_or_leave(bench.plan(), desk=bench.desk).id == job.id
