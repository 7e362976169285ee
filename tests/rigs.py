"""The desk that tests of the engine work at: a fake provider, a real store, a clock that does not wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune import planner
from anytune.jobs import Desk
from anytune.providers.base import Profile, Provider
from anytune.schema.data import DataFile, DataReport, FileReport, Tokens
from anytune.schema.plan import Plan, Policy
from anytune.schema.spec import TuneSpec
from anytune.store import JobStore, SqliteStore
from anytune.testing import FakeClock, FakeProvider, Fault, no_key, sample_file, sample_spec
from anytune.testing.fake import FAULTS, FakeService


def profile(home: Path, *, name: str = "fake", key: str = "fake-key-1234567890") -> Profile:
    return Profile(name=name, home=home, key=lambda: key)


@dataclass
class Bench:
    """Hold everything that a test of the engine looks at."""

    folder: Path
    service: FakeService
    provider: FakeProvider
    clock: FakeClock
    store: JobStore
    desk: Desk

    def plan(self, *, policy: Policy = Policy(), **changes: Any) -> Plan:
        return make_plan(self.folder, self.provider, policy=policy, **changes)


def make_bench(folder: Path, *, service: FakeService | None = None) -> Bench:
    service = service or FakeService()
    provider = FakeProvider(profile(folder), service)
    clock, store = FakeClock(), SqliteStore(folder / "home")
    return Bench(folder, service, provider, clock, store, Desk(store=store, provider=lambda _: provider, clock=clock))


def report_of(file: DataFile) -> DataReport:
    tokens = Tokens(low=750, expected=1000, high=1250, longest=40, basis="1000 tokens")
    return DataReport(files=(FileReport(path=file.path, examples=file.examples, tokens=tokens, file=file),))


def make_plan(folder: Path, provider: Provider, *, policy: Policy = Policy(), **changes: Any) -> Plan:
    file = sample_file(folder)
    document = sample_spec(file, provider=provider.name, model="fake-1").model_dump(mode="json", exclude_unset=True)
    spec = TuneSpec.model_validate({**document, **changes})
    return planner.make(
        spec,
        report_of(file),
        provider.capabilities(spec.model),
        policy=policy,
        today=FakeClock().now().date(),
    )


class FakeRig:
    """Drive the fake provider through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = FakeService(polls_to_end=1000)
        self.key = self.service.key
        self.provider: Provider = FakeProvider(profile(folder), self.service)

    def spec(self) -> TuneSpec:
        return sample_spec(self.file(), provider="fake", model="fake-1")

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.service.jobs)

    def calls(self) -> int:
        return len(self.service.calls)

    def received(self) -> dict[str, Any]:
        *_, last = self.service.jobs.values()
        request: dict[str, Any] = last["request"]
        return request

    def told(self, remote_id: str) -> int:
        return int(self.service.jobs[remote_id]["polls"]) + 1

    def without_key(self) -> Provider:
        return FakeProvider(Profile(name="fake", home=self.folder, key=no_key), self.service)

    def finish(self, remote_id: str) -> None:
        self.service.jobs[remote_id].update(status="done", polls=3)

    def break_next(self, act: str, fault: Fault) -> None:
        if fault == "unknown-word":
            for job in self.service.jobs.values():
                job["status"] = "meditating"
            return
        if fault == "wrong-key":
            self.service.key = "fake-key-of-another"
            return
        error = FAULTS["server-error" if fault == "blind-list" else fault]
        self.service.faults.setdefault("lost" if fault == "lost-answer" else act, []).append(error)
