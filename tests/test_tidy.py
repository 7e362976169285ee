"""Files of a refused job: removed when surely nobody needs them, never otherwise, and told either way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    ClosedError,
    KeyRefusedError,
    QuotaError,
    RejectedError,
    UnavailableError,
)
from anytune.jobs import tidy
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import Job, JobState
from anytune.testing import FakeProvider, sample_file
from tests.providers.test_openai_contract import OpenAIRig
from tests.rigs import Bench, make_bench, make_plan, profile
from tests.stubs.openai import OpenAIStub

CLOSED = "no new jobs"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def refused(bench: Bench, error: Exception | None = None, **changes: Any) -> ClosedError:
    bench.service.faults.setdefault("create", []).append(error or ClosedError(CLOSED))
    with pytest.raises(ClosedError) as caught:
        jobs.submit(bench.plan(**changes), desk=bench.desk)
    return caught.value


def newest(bench: Bench) -> Job:
    return bench.store.list()[0]


def test_the_file_of_a_job_that_is_refused_for_good_is_removed_and_the_refusal_says_so(bench: Bench) -> None:
    error = refused(bench)
    assert bench.service.files == {}
    (said,) = error.reasons
    assert said.startswith("file-")
    assert said.endswith("was removed from fake again")
    job = newest(bench)
    assert (job.state, job.to_remove) == (JobState.FAILED, ())
    assert [event.message for event in bench.store.events(job.id)] == [said]


def test_the_refusal_names_where_else_to_go(bench: Bench) -> None:
    error = refused(bench, ClosedError(CLOSED, fix="this organisation may not start jobs here: use another provider"))
    assert str(error.fix).startswith("this organisation may not start jobs here: use another provider: local, openai, ")
    assert "anytune plan FILE --all" in str(error.fix)


@pytest.mark.parametrize("error", [RejectedError("n_epochs is wrong"), QuotaError("no credit")])
def test_a_refusal_that_can_be_mended_keeps_the_file_for_the_next_try(bench: Bench, error: RejectedError) -> None:
    bench.service.faults["create"] = [error]
    with pytest.raises(RejectedError):
        jobs.submit(bench.plan(), desk=bench.desk)
    assert len(bench.service.files) == 1
    assert error.reasons == ()
    assert bench.service.calls.count("delete_file") == 0


def test_nothing_is_removed_while_a_job_may_exist_after_a_lost_answer(bench: Bench) -> None:
    bench.service.faults["create"] = [AmbiguousError("lost"), ClosedError(CLOSED)]
    with pytest.raises(ClosedError) as caught:
        jobs.submit(bench.plan(), desk=bench.desk)
    assert len(bench.service.files) == 1
    assert caught.value.reasons == ()


@pytest.mark.parametrize("counted", [True, False])
def test_nothing_is_removed_when_an_earlier_process_may_have_made_a_job(bench: Bench, counted: bool) -> None:
    bench.service.faults["create"] = [AmbiguousError("lost")] * jobs.CREATE_ROUNDS
    with pytest.raises(AmbiguousError):
        jobs.submit(bench.plan(), desk=bench.desk)
    kept = newest(bench)
    bench.store.put(kept.model_copy(update={"creates": kept.creates if counted else 0}))  # 0: of an older anytune
    bench.service.faults["create"] = [ClosedError(CLOSED)]
    with pytest.raises(ClosedError):
        jobs.resume(kept.id, desk=bench.desk)
    assert len(bench.service.files) == 1


def test_a_create_that_was_surely_not_carried_out_leaves_nothing_open(bench: Bench) -> None:
    bench.service.faults["create"] = [UnavailableError("down")]
    refused(bench)
    assert bench.service.files == {}


def test_a_file_that_another_job_uses_stays(bench: Bench) -> None:
    first = jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.files.clear()  # so that the second job sends the same bytes, and gets the same id, again
    error = refused(bench, name="second")
    assert len(bench.service.files) == 1
    assert error.reasons == ()
    jobs.cancel(first.id, desk=bench.desk)
    bench.service.files.clear()
    refused(bench, name="third")
    assert bench.service.files == {}


def test_a_file_that_was_there_before_is_not_ours_to_remove(bench: Bench) -> None:
    bench.provider.upload(sample_file(bench.folder))
    error = refused(bench)
    assert len(bench.service.files) == 1
    assert error.reasons == ()
    assert newest(bench).sent == ()


def test_a_file_that_an_earlier_try_sent_is_removed_with_the_last_one(bench: Bench) -> None:
    bench.service.faults["create"] = [QuotaError("no credit")]
    with pytest.raises(QuotaError):
        jobs.submit(bench.plan(), desk=bench.desk)
    bench.service.faults["create"] = [ClosedError(CLOSED)]
    with pytest.raises(ClosedError):
        jobs.submit(bench.plan(), desk=bench.desk, again=True)
    assert newest(bench).sent == ()
    assert bench.service.files == {}


@pytest.mark.parametrize("fault", [RejectedError("not allowed"), KeyRefusedError("not this key")])
def test_a_removal_that_fails_is_told_once_and_the_refusal_stays_what_it_was(bench: Bench, fault: Exception) -> None:
    bench.service.faults["delete_file"] = [fault]
    error = refused(bench)
    assert error.message == CLOSED
    (said,) = error.reasons
    assert f"could not be removed from fake: {fault}" in said
    job = newest(bench)
    jobs.refresh(job.id, desk=bench.desk)
    jobs.refresh(job.id, desk=bench.desk)
    assert bench.service.calls.count("delete_file") == 1
    assert [event.level for event in bench.store.events(job.id)] == ["warning"]


def test_a_removal_that_may_be_tried_again_is_for_a_while(bench: Bench) -> None:
    bench.service.faults["delete_file"] = [UnavailableError("down"), AmbiguousError("lost")]
    refused(bench)
    assert bench.service.files == {}
    bench.service.faults["delete_file"] = [UnavailableError("down")] * 9
    assert "could not be removed" in refused(bench, name="second").reasons[0]
    assert sum(bench.clock.slept) <= 2 * tidy.PATIENCE


@pytest.mark.parametrize("command", [jobs.refresh, jobs.carry_on])
def test_a_process_that_ended_before_the_removal_leaves_it_to_the_next_command(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Job]
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(bench.provider, "delete_file", ended)
        bench.service.faults["create"] = [ClosedError(CLOSED)]
        with pytest.raises(SystemExit):
            jobs.submit(bench.plan(), desk=bench.desk)
    job = newest(bench)
    assert (job.state, len(job.to_remove), len(bench.service.files)) == (JobState.FAILED, 1, 1)
    assert command(job.id, desk=bench.desk).to_remove == ()
    assert bench.service.files == {}


def ended(_: str) -> None:
    raise SystemExit(9)


def test_a_file_taken_up_since_then_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(bench.provider, "delete_file", ended)
        bench.service.faults["create"] = [ClosedError(CLOSED)]
        with pytest.raises(SystemExit):
            jobs.submit(bench.plan(), desk=bench.desk)
    first = newest(bench)
    jobs.submit(bench.plan(name="second"), desk=bench.desk)
    jobs.refresh(first.id, desk=bench.desk)
    assert len(bench.service.files) == 1
    assert "another job uses it" in bench.store.events(first.id)[0].message


class Handless(FakeProvider):
    """Have no way to remove files."""

    delete_file = None  # type: ignore[assignment]


def test_a_provider_that_cannot_remove_files_is_told_of(bench: Bench) -> None:
    handless = Handless(profile(bench.folder), bench.service)
    bench.desk = dataclasses.replace(bench.desk, provider=lambda _: handless)
    assert "only by hand" in refused(bench).reasons[0]


def test_an_organisation_that_openai_lets_start_no_jobs_leaves_no_file_there(tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        stub.closed = True
        provider = OpenAIRig(tmp_path, stub).provider
        assert isinstance(provider, OpenAIProvider)
        bench = make_bench(tmp_path)
        bench.desk = dataclasses.replace(bench.desk, provider=lambda _: provider)
        plan = make_plan(tmp_path, bench.provider)
        spec = plan.spec.model_copy(update={"provider": "openai", "model": "gpt-4.1-mini-2025-04-14"})
        with pytest.raises(ClosedError) as caught:
            jobs.submit(plan.model_copy(update={"spec": spec}), desk=bench.desk)
        assert "was removed from openai again" in caught.value.reasons[0]
        (call,) = stub.calls("DELETE *")
        assert (call.path, call.status) == (f"/v1/files/{newest(bench).files['train']}", 200)
