"""Files of a refused job: removed when surely nobody needs them, never otherwise, and told either way."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
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
from anytune.jobs import Desk, tidy
from anytune.jobs.submit import intend
from anytune.providers.openai import OpenAIProvider
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.store import SqliteStore
from anytune.testing import FakeProvider, sample_file
from anytune.testing.fake import FakeService
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


def test_a_removal_that_is_refused_is_told_once_and_the_refusal_stays_what_it_was(bench: Bench) -> None:
    bench.service.faults["delete_file"] = [RejectedError("not allowed")]
    error = refused(bench)
    assert error.message == CLOSED
    (said,) = error.reasons
    assert said.endswith("could not be removed from fake: not allowed")
    job = newest(bench)
    jobs.refresh(job.id, desk=bench.desk)
    jobs.refresh(job.id, desk=bench.desk)
    assert bench.service.calls.count("delete_file") == 1
    assert [event.level for event in bench.store.events(job.id)] == ["warning"]


@pytest.mark.parametrize("fault", [UnavailableError("down"), AmbiguousError("lost"), KeyRefusedError("not this key")])
def test_a_removal_that_may_still_be_done_is_done_by_the_next_command_and_told_once(
    bench: Bench, fault: Exception
) -> None:
    bench.service.faults["delete_file"] = [fault] * 6
    error = refused(bench)
    job = newest(bench)
    assert error.reasons[0].endswith(f"could not be removed from fake: {fault}; anytune show {job.id} tries it again")
    while bench.service.faults["delete_file"]:
        assert jobs.refresh(job.id, desk=bench.desk).to_remove
    assert bench.service.files
    assert jobs.refresh(job.id, desk=bench.desk).to_remove == ()
    assert bench.service.files == {}
    assert [event.level for event in bench.store.events(job.id)] == ["warning", "info"]


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


class Lingering(FakeProvider):
    """Take a while between being told to remove a file and removing it; look at each create for its file."""

    def __init__(self, folder: Path, service: FakeService) -> None:
        super().__init__(profile(folder), service)
        self.removing, self.on, self.pause = threading.Event(), threading.Event(), 0.0
        self.orphans: list[str] = []

    def delete_file(self, file_id: str) -> None:
        self.removing.set()
        self.on.wait(self.pause)
        super().delete_file(file_id)

    def create(self, request: dict[str, Any]) -> RemoteJob:
        there = {f"file-{sha256[:12]}" for sha256 in self.service.files}
        if request["training_file"] not in there:
            self.orphans.append(request["tag"])
        return super().create(request)


@pytest.fixture
def lingering(bench: Bench) -> Lingering:
    return Lingering(bench.folder, bench.service)


def apart(bench: Bench, provider: FakeProvider) -> Desk:
    """Make a desk that a thread of its own can work at."""
    return dataclasses.replace(bench.desk, store=SqliteStore(bench.folder / "home"), provider=lambda _: provider)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_submit_of_the_same_bytes_waits_until_their_removal_is_over_and_sends_them_again(
    bench: Bench, lingering: Lingering
) -> None:
    lingering.pause = 0.5  # longer than the second submit would take if it did not wait

    def refused_one() -> None:
        bench.service.faults["create"] = [ClosedError(CLOSED)]
        with pytest.raises(ClosedError):
            jobs.submit(bench.plan(), desk=apart(bench, lingering))

    first = in_thread(refused_one)
    assert lingering.removing.wait(20)
    desk = apart(bench, lingering)
    second = jobs.submit(bench.plan(name="second"), desk=desk)
    lingering.on.set()
    first.join(20)
    assert lingering.orphans == []
    assert second.files["train"] in {f"file-{sha256[:12]}" for sha256 in bench.service.files}


def test_a_removal_leaves_the_bytes_that_a_submit_is_about_to_send(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    intended: list[Job] = []

    def deciding(request: dict[str, Any]) -> RemoteJob:
        intended.append(intend(bench.plan(name="second"), desk=bench.desk))  # it has sent nothing so far
        raise ClosedError(CLOSED)

    with monkeypatch.context() as patch:
        patch.setattr(bench.provider, "create", deciding)
        with pytest.raises(ClosedError) as caught:
            jobs.submit(bench.plan(), desk=bench.desk)
    assert len(bench.service.files) == 1
    assert not any("was removed" in reason for reason in caught.value.reasons)
    assert jobs.carry_on(intended[0].id, desk=bench.desk).remote is not None
    assert bench.service.calls.count("upload") == 2  # of which the second found them there


def test_no_job_is_made_on_a_removed_file_however_removals_and_submits_fall_together(
    bench: Bench, lingering: Lingering
) -> None:
    chance, lingering.pause = Random(3), 0.02
    for number in range(25):
        bench.service.files.clear()
        bench.service.faults["create"] = [ClosedError(CLOSED)]
        names, errors = [f"one-{number}", f"two-{number}"], []

        def submitted(name: str, wait: float, errors: list[ClosedError] = errors) -> None:
            time.sleep(wait)
            try:
                jobs.submit(bench.plan(name=name), desk=apart(bench, lingering))
            except ClosedError as error:
                errors.append(error)

        threads = [in_thread(partial(submitted, name, chance.uniform(0, 0.02))) for name in names]
        for thread in threads:
            thread.join(20)
        assert len(errors) == 1
        assert len(bench.service.files) == 1
    assert lingering.orphans == []
