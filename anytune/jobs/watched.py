"""The live jobs of a record, each small: ten thousand are held at once, and a plan is read when something happens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from anytune.jobs.alarm import at_most
from anytune.schema.job import Event, Job, JobState, RemoteJob, Summary
from anytune.schema.money import Order
from anytune.store import JobStore

LAST_WORDS = 3  # times that the events of a job that ended are asked for, where that fails
MOVING = frozenset((JobState.RUNNING, JobState.FINALIZING, JobState.CANCELLING))  # states in which events come
SETTLED = frozenset((JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.PAUSED))


@dataclass(slots=True, eq=False)
class Watched:
    """Be what is known of one job. Times of a clock that never runs backwards: `moved` when something last happened,
    `asked` when the provider was last asked for it alone, `heard` for its events, `again` from when on to ask alone.
    `owed` is how often its events may still be asked for once it has ended and its last ones are not known, and
    `granted` that this was set once. A `late` one had ended before it was first seen: it is not shown.
    """

    id: str
    provider: str
    local: bool
    created_at: datetime
    state: JobState
    updated_at: datetime
    remote: RemoteJob | None
    cost: Decimal | None
    expected: Decimal | None
    error: str | None
    moved: float
    asked: float = float("-inf")
    heard: float = float("-inf")
    again: float = float("-inf")
    alone: bool = False
    stalled: bool = False
    elsewhere: bool = False
    told: str | None = None
    owed: int = 0
    granted: bool = False
    late: bool = False
    mark: str = ""
    orders: tuple[Order, ...] = ()
    alarmed: bool = False
    reckoned: float = float("-inf")
    step: int = 0
    steps: int = 0
    loss: float | None = None
    left: float | None = None

    @property
    def live(self) -> bool:
        """Tell whether something is still to be waited for."""
        return self.state not in SETTLED and not self.elsewhere

    @property
    def asked_for(self) -> bool:
        """Tell whether its provider can say anything new of it."""
        return self.remote is not None and not self.elsewhere and (self.owed > 0 or not self.state.is_terminal)

    @property
    def so_far(self) -> Decimal | None:
        """Return what it has cost: as told, else the expected cost by the share of the steps; None if unknown."""
        if self.cost is not None or self.expected is None or self.state is JobState.SUCCEEDED:
            return self.cost if self.cost is not None else self.expected
        return self.expected * self.step / self.steps if self.steps else None

    def may_be_past(self, at: datetime) -> bool:
        """Tell whether it may have cost more than was foreseen, seen from the little that is held of it here."""
        most, so_far = at_most(self.orders), self.so_far
        if not most or self.alarmed:
            return False
        last = self.orders[-1]
        hours = Decimal((at - last.at).total_seconds()) / 3600
        return (so_far is not None and so_far > most) or (last.per_hour is not None and hours * last.per_hour > most)

    def take(self, job: Job | Summary, *, now: float) -> bool:
        """Take in how the record has the job; return whether anything about it is other than before."""
        remote = job.remote
        told = RemoteJob.model_validate(remote) if isinstance(remote, dict) else remote
        other = (told, job.state, job.error, job.cost) != (self.remote, self.state, self.error, self.cost)
        if other:
            self.moved, self.stalled, self.told = now, False, None
        self.state, self.updated_at, self.error, self.cost = job.state, job.updated_at, job.error, job.cost
        self.orders = job.orders
        self.remote = told if other else self.remote
        if not self.state.is_terminal:
            self.owed, self.granted = 0, False
        return other

    def grant(self, times: int) -> None:
        """Let its last events be asked for so often, if that was not set before."""
        if not self.granted:
            self.owed, self.granted = times, True

    def hear(self, events: Sequence[Event], *, now: float) -> bool:
        """Take in events that were not known before; return whether there were any."""
        self.learn(events)
        if events:
            self.moved, self.stalled = now, False
        return bool(events)

    def learn(self, events: Sequence[Event]) -> None:
        """Take the figures out of events."""
        for event in events:
            self._figures(event.data)

    def _figures(self, data: dict[str, Any]) -> None:
        self.step = int(_figure(data.get("step")) or self.step)
        self.steps = int(_figure(data.get("total_steps")) or self.steps)
        loss, left = (_figure(data.get(a, data.get(b))) for a, b in (("loss", "train_loss"), ("eta_seconds", "eta")))
        self.loss = self.loss if loss is None else loss
        self.left = self.left if left is None else left


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def watched(job: Summary, *, now: float) -> Watched:
    """Begin to watch a job as the record has it."""
    expected = job.estimated_cost.get("expected")
    return Watched(
        id=job.id,
        provider=job.provider,
        local=job.local,
        created_at=job.created_at,
        state=job.state,
        updated_at=job.updated_at,
        remote=RemoteJob.model_validate(job.remote) if job.remote else None,
        cost=job.cost,
        expected=Decimal(str(expected)) if expected is not None else None,
        error=job.error,
        orders=job.orders,
        moved=now,
        heard=float("-inf") if job.state in MOVING else now,
    )


@dataclass
class Roster:
    """Hold all jobs that were live when the record was first read, and those that came since, in that order."""

    store: JobStore
    jobs: dict[str, Watched] = field(default_factory=dict)
    _groups: dict[str, list[Watched]] = field(default_factory=dict)
    _submitting: list[Watched] = field(default_factory=list)

    def read(self, now: float, *, but: Collection[str] = ()) -> list[Watched]:
        """Read the record again and return the jobs that are new or stand otherwise: another process saw them.

        The known jobs of the providers `but` these stay as they are.
        """
        first, summaries = not self.jobs, self.store.summaries()
        unheard = self.store.unheard()  # read second: what ended in the summaries is in it, unless it was heard since
        changed = [job for each in reversed(summaries) for job in self._taken(each, now, but, unheard=unheard)]
        for job in (job for job in self.jobs.values() if job.state.is_terminal and job.provider not in but):
            if job.id in unheard:
                job.grant(1 if job.late else LAST_WORDS)
            else:
                job.owed = 0  # another process has them
        if changed or first:
            self._group()
        return changed

    def _taken(
        self, summary: Summary, now: float, but: Collection[str], *, unheard: Collection[str]
    ) -> Iterable[Watched]:
        known = self.jobs.get(summary.id)
        if known is None:
            if not summary.state.is_terminal:
                yield self.jobs.setdefault(summary.id, watched(summary, now=now))
            elif summary.id in unheard:
                self.jobs[summary.id] = watched(summary, now=now)
                self.jobs[summary.id].late = True
        elif known.updated_at != summary.updated_at and known.provider not in but and known.take(summary, now=now):
            yield known

    def regroup(self, provider: str) -> None:
        """Leave out the jobs of a provider that it cannot be asked for any more."""
        left = [job for job in self._groups.pop(provider, ()) if job.asked_for]
        if left:
            self._groups[provider] = left

    def _group(self) -> None:
        self._groups = {}
        for job in self.jobs.values():
            if job.asked_for:
                self._groups.setdefault(job.provider, []).append(job)
        self._submitting = [job for job in self.jobs.values() if job.state is JobState.SUBMITTING]

    def by_provider(self) -> dict[str, list[Watched]]:
        """Return the jobs that their providers can be asked for."""
        return self._groups

    def submitting(self) -> list[Watched]:
        """Return the jobs whose submit was begun and not finished."""
        return self._submitting
