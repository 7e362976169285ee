"""A day in the life of many jobs, on a clock that does not wait: what a watcher asks, and when it notices an end.

The far sides count their calls as the real ones would get them: a call for each page of a list that is walked, newest
first, and one for each single question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from random import Random

from anytune.errors import UnavailableError
from anytune.jobs import Desk, Look, Sweep
from anytune.jobs.turns import Turns
from anytune.providers.base import Profile
from anytune.schema.job import Event, Job, JobState, RemoteJob
from anytune.store import SqliteStore
from anytune.testing import FakeClock, FakeProvider
from tests.rigs import make_plan

EVENTS_EVERY = 600.0  # seconds of a run from one event to the next


class FarSide(FakeProvider):
    """Be a provider whose jobs go through their states as time goes by; `page` jobs are told of by one call."""

    def __init__(self, name: str, clock: FakeClock, *, page: int, away: tuple[float, float]) -> None:
        super().__init__(Profile(name=name, home=Path(), key=lambda: "key"))
        self.name, self.clock, self.page, self.away = name, clock, page, away
        self.lives: dict[str, tuple[float, float]] = {}
        self.told: dict[str, RemoteJob] = {}
        self.calls: Counter[int] = Counter()

    def begin(self, remote_id: str, *, runs_at: float, ends_at: float) -> RemoteJob:
        """Take a job in."""
        self.lives[remote_id] = (runs_at, ends_at)
        return self._stands(remote_id)

    def _count(self, calls: int = 1) -> None:
        now = self.clock.monotonic()
        self.calls[int(now // 60)] += calls
        if self.away[0] <= now < self.away[1]:
            raise UnavailableError(f"{self.name}: no route to host")

    def _stands(self, remote_id: str) -> RemoteJob:
        runs_at, ends_at = self.lives[remote_id]
        now = self.clock.monotonic()
        state = JobState.QUEUED if now < runs_at else JobState.RUNNING if now < ends_at else JobState.SUCCEEDED
        known = self.told.get(remote_id)
        if known is None or known.state is not state:
            model = f"tuned-{remote_id}" if state is JobState.SUCCEEDED else None
            self.told[remote_id] = RemoteJob(id=remote_id, status=str(state), state=state, model=model)
        return self.told[remote_id]

    def retrieve(self, remote_id: str) -> RemoteJob:
        self._count()
        return self._stands(remote_id)

    def retrieve_many(self, ids: Collection[str], *, since: object = None) -> dict[str, RemoteJob]:
        found, newest_first = dict[str, RemoteJob](), reversed(self.lives)
        while page := list(islice(newest_first, self.page)):
            self._count()
            found |= {id: self._stands(id) for id in page if id in ids}
            if len(found) == len(ids):
                break
        return found

    def events(self, remote_id: str) -> list[Event]:
        self._count()
        runs_at, ends_at = self.lives[remote_id]
        passed = max(0.0, min(self.clock.monotonic(), ends_at) - runs_at)
        steps = int((ends_at - runs_at) // EVENTS_EVERY)
        start = self.clock.now() - timedelta(seconds=self.clock.monotonic() - runs_at)
        return [
            Event.model_construct(  # not looked at again: what it takes to read an answer is not what is measured
                id=f"{remote_id}-{step}",
                at=start + timedelta(seconds=step * EVENTS_EVERY),
                message=f"step {step}",
                data={"step": step, "total_steps": steps, "loss": 1 / step},
            )
            for step in range(1, int(passed // EVENTS_EVERY) + 1)
        ]


@dataclass
class Figures:
    """Be what a watched day came to; calls are counted by minute, lags are seconds from an end to its notice."""

    jobs: int
    hours: float
    calls: dict[str, Counter[int]] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    left: int = 0
    interval: float = 0.0
    away: tuple[float, float] = (0.0, 0.0)

    def per_job_and_hour(self, name: str) -> float:
        return sum(self.calls[name].values()) / (self.jobs / len(self.calls)) / self.hours

    def peak_before(self, name: str) -> int:
        return max(n for minute, n in self.calls[name].items() if 1 <= minute < self.away[0] // 60)

    def peak_after(self, name: str) -> int:
        return max(n for minute, n in self.calls[name].items() if minute >= self.away[1] // 60)

    def worst_lag(self) -> float:
        """Return the longest time until an end was noticed, of those ends that fell outside the outage."""
        return max(self.lags)


def live_through(folder: Path, *, jobs: int, hours: float, seed: int = 7) -> Figures:
    """Watch so many jobs at two far sides, one with pages of 100, one with a single page, with an outage of both."""
    clock, random = FakeClock(), Random(seed)
    seconds = hours * 3600
    away = (seconds * 0.4, seconds * 0.55)
    sides = {name: FarSide(name, clock, page=page, away=away) for name, page in (("paged", 100), ("whole", jobs))}
    store = SqliteStore(folder / "home")
    store._db.execute("PRAGMA synchronous = OFF")  # the figures are not about the disk
    desk = Desk(store=store, provider=sides.__getitem__, clock=clock)
    ends = dict(_begun(folder, desk, sides, count=jobs, seconds=seconds, random=random))
    sweep = Sweep(desk, folder / "home", random=random)
    calls = {name: side.calls for name, side in sides.items()}
    figures = Figures(jobs, hours, calls, interval=Turns(lists=True).interval(jobs // len(sides)), away=away)
    while clock.monotonic() < seconds:
        _note(figures, sweep.turn(), ends, clock)
        clock.sleep(sweep.wait())
    figures.left = sum(ends[job.id] < seconds - figures.interval for job in sweep.jobs if job.live)
    sweep.close()
    return figures


def _note(figures: Figures, look: Look, ends: dict[str, float], clock: FakeClock) -> None:
    for job in look.changed:
        if job.state.is_terminal and not figures.away[0] - 120 <= ends[job.id] < figures.away[1] + 1200:
            figures.lags.append(clock.monotonic() - ends[job.id])


def _begun(
    folder: Path, desk: Desk, sides: dict[str, FarSide], *, count: int, seconds: float, random: Random
) -> Iterator[tuple[str, float]]:
    """Write the jobs down as submitted; they end all through the time, and some later."""
    plan = make_plan(folder, next(iter(sides.values())))
    names = list(sides)
    for number in range(count):
        side = sides[names[number % len(names)]]
        ends_at = random.uniform(0.02, 1.1) * seconds
        remote = side.begin(f"remote-{number:05d}", runs_at=ends_at * random.uniform(0, 0.5), ends_at=ends_at)
        spec = plan.spec.model_copy(update={"name": f"job-{number:05d}", "provider": side.name})
        now = desk.clock.now()
        job = Job(
            id=f"job-{number:05d}-{number:010x}",
            provider=side.name,
            plan=plan.model_copy(update={"spec": spec}),
            state=remote.state,
            created_at=now,
            updated_at=now,
            files={"train": f"file-{number:05d}"},
            creating=now,
            remote=remote,
        )
        desk.store.add(job)
        yield job.id, ends_at
