"""Any order of verbs, crashes and faults leaves each job recorded, paid for once, and ended for good at its end."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anytune import jobs
from anytune.errors import (
    AmbiguousError,
    AnytuneError,
    ConflictError,
    KeyRefusedError,
    QuotaError,
    RateLimitedError,
    StoreError,
    UnavailableError,
)
from anytune.schema.job import Job, JobState, Summary
from anytune.store import SqliteStore
from tests.rigs import Bench, make_bench

pytestmark = pytest.mark.engine

NAMES = st.sampled_from(["tides", "moons"])
EPOCHS = st.sampled_from([1, 2])
WHICH = st.integers(0, 5)  # an id would not do: it is another one each time
FAULTS = {
    "upload": [KeyRefusedError("not this key"), UnavailableError("down"), RateLimitedError("busy", retry_after=2)],
    "create": [
        AmbiguousError("dropped before acting"),
        UnavailableError("down"),
        KeyRefusedError("not this key"),
        QuotaError("no money"),
    ],
    "lost": [AmbiguousError("dropped after acting")],
    "find": [KeyRefusedError("not this key"), AmbiguousError("garbage")],
    "retrieve": [AmbiguousError("garbage"), KeyRefusedError("not this key")],
    "cancel": [AmbiguousError("dropped before acting")],
    "events": [UnavailableError("down")],
}
ACTS = {"store": ("add", "put", "decide", "add_events"), "provider": ("upload", "create", "find", "retrieve", "cancel")}


class Crash(BaseException):
    """Be the end of the process: nothing below may catch it."""


class Dying:
    """Stand before a store or a provider and end the process before or after one of its acts."""

    def __init__(self, inner: Any, acts: tuple[str, ...], life: list[int]) -> None:
        self._inner, self._acts, self._life = inner, acts, life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in self._acts:
            return attribute

        def act(*given: Any, **options: Any) -> Any:
            self._step()
            result = attribute(*given, **options)
            self._step()
            return result

        return act

    def _step(self) -> None:
        self._life[0] -= 1
        if self._life[0] < 0:
            raise Crash


class JobLife(RuleBasedStateMachine):
    """Live with the fake provider, a real record and a clock that does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="anytune-life-"))
        self.bench: Bench = make_bench(self.folder)
        self.ended: dict[str, Job] = {}
        self.known: list[str] = []
        self.life = [10**9]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def start_a_process(self) -> None:
        self.life = [10**9]
        self.bench.store = SqliteStore(self.folder / "home")
        store = Dying(self.bench.store, ACTS["store"], self.life)
        provider = Dying(self.bench.provider, ACTS["provider"], self.life)
        self.desk = jobs.Desk(store=store, provider=lambda _: provider, clock=self.bench.clock)  # type: ignore[arg-type, return-value]

    def try_to(self, act: Any) -> Any:
        """Do one thing; a provider's trouble is told, a crash starts the next process, a broken record is a fault."""
        try:
            return act()
        except StoreError:
            raise
        except AnytuneError:
            return None
        except Crash:
            self.start_a_process()
            return None

    @rule(steps=st.integers(0, 25))
    def the_process_will_die(self, steps: int) -> None:
        self.life[0] = steps

    @rule(fault=st.sampled_from([(act, error) for act, errors in FAULTS.items() for error in errors]))
    def a_call_will_meet_a_fault(self, fault: tuple[str, Exception]) -> None:
        self.bench.service.faults.setdefault(fault[0], []).append(fault[1])

    @rule(name=NAMES, epochs=EPOCHS, again=st.booleans())
    def submit(self, name: str, epochs: int, again: bool) -> None:
        plan = self.bench.plan(name=name, training={"epochs": epochs})
        self.try_to(lambda: jobs.submit(plan, desk=self.desk, again=again))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def refresh(self, which: int) -> None:
        job_id = self.known[which % len(self.known)]
        self.try_to(lambda: jobs.fetch_events(jobs.refresh(job_id, desk=self.desk), desk=self.desk))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        job_id = self.known[which % len(self.known)]
        self.try_to(lambda: jobs.cancel(job_id, desk=self.desk))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def resume(self, which: int) -> None:
        job_id = self.known[which % len(self.known)]
        self.try_to(lambda: jobs.resume(job_id, desk=self.desk))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def a_job_fails_there(self, which: int) -> None:
        alive = [job for job in self.bench.service.jobs.values() if job["status"] in {"waiting", "working"}]
        for job in alive[which : which + 1]:
            job["status"] = "broken"

    @invariant()
    def no_job_is_lost(self) -> None:
        found = {job.id: job for job in self.bench.store.list()}
        assert found.keys() >= set(self.known)
        self.known += [job_id for job_id in reversed(found) if job_id not in self.known]
        assert list(self.bench.store.summaries()) == [Summary.of(job) for job in found.values()]

    @invariant()
    def no_job_is_paid_for_twice_and_none_is_unknown_to_us(self) -> None:
        tags = [job["request"]["tag"] for job in self.bench.service.jobs.values()]
        assert len(tags) == len(set(tags))
        assert set(tags) <= set(self.known)

    @invariant()
    def what_has_ended_stays_as_it_ended(self) -> None:
        for job_id, job in self.ended.items():
            assert self.bench.store.get(job_id) == job
        self.ended |= {job.id: job for job in self.bench.store.list() if job.state.is_terminal}

    @invariant()
    def success_has_a_model_and_cancelled_jobs_do_not_run(self) -> None:
        for job in self.bench.store.list():
            assert job.state is not JobState.SUCCEEDED or (job.remote is not None and job.remote.model)
            there = [j for j in self.bench.service.jobs.values() if j["request"]["tag"] == job.id]
            assert job.state is not JobState.CANCELLED or all(j["status"] not in {"waiting", "working"} for j in there)

    @invariant()
    def the_intent_stands_before_the_act(self) -> None:
        for job in self.bench.service.jobs.values():
            written = self.bench.store.get(job["request"]["tag"])
            assert written.creating is not None

    @invariant()
    def events_are_kept_once(self) -> None:
        for job_id in self.known:
            ids = [event.id for event in self.bench.store.events(job_id)]
            assert len(ids) == len(set(ids))


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_what_was_left_anywhere_can_be_finished() -> None:
    """From each step at which a submit may die, the next command makes the one job."""
    for steps in range(25):
        machine = JobLife()
        machine.start_a_process()
        machine.the_process_will_die(steps)
        machine.submit("tides", 1, again=False)
        machine.life[0] = 10**9
        try:
            jobs.submit(machine.bench.plan(name="tides", training={"epochs": 1}), desk=machine.desk)
            assert len(machine.bench.service.jobs) == 1
        except ConflictError:
            raise AssertionError(f"step {steps} left the name taken") from None
        finally:
            machine.teardown()
