"""One loop for all live jobs: each provider in its turn, by its list where it has one, and no two processes at once.

A process that watches asks a provider only while it holds the provider's lease; another reads what the holder wrote
down. Each hosted provider is asked in a lane of its own, and in another one submits to it that were begun are carried
on, so that nobody waits for the slowest. While a lane asks about jobs they are its own: the loop reads them, and
changes nothing. Time is the desk's clock, and nothing here waits but `follow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from anytune.errors import (
    AnytuneError,
    CredentialError,
    NotYetError,
    ProviderError,
    UsageError,
)
from anytune.jobs.desk import Desk
from anytune.jobs.inquiry import Inquiry, Notice
from anytune.jobs.lane import Inline, Lane
from anytune.jobs.lease import Lease
from anytune.jobs.source import Source
from anytune.jobs.submit import carry_on
from anytune.jobs.turns import EVERY, Turns
from anytune.jobs.watched import MOVING, Roster, Watched

READ = 15.0  # seconds between two looks into the record for jobs that others began or changed
READ_EACH = 0.03  # seconds more a job, so that a large record is not read all the time
ERRAND_AGAIN = 600.0  # seconds after which a submit that was stopped is carried on again
SHOWN = 20  # jobs whose events are read from the record where another process asks for them
SOON = 1.0  # seconds to the next look while a lane is at work


@dataclass(frozen=True)
class Look:
    """Be one turn of the sweep: the jobs about which something is new, and what the user should know, once."""

    changed: tuple[Watched, ...] = ()
    notices: tuple[Notice, ...] = ()


Taken = Callable[[], Look]  # takes in what a lane brought back


@dataclass
class Sweep:
    """Watch all live jobs of a record, or end with those that are `only` wanted.

    `lane` makes the lanes, from the name of each; they work at once, at this desk, if it is None. `mark` tells a
    provider's key from another without showing it: a provider that refused one is asked again with another, and not
    before.
    """

    desk: Desk
    home: Path
    only: Collection[str] = ()
    lane: Callable[[str], Lane[Taken]] | None = None
    mark: Callable[[str], str | None] = lambda _: None
    random: Random = field(default_factory=Random)
    sources: dict[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._roster = Roster(self.desk.store)
        self._errands: dict[str, Lane[Taken]] = {}
        self._read_at = float("-inf")
        self._begun: dict[str, float] = {}
        self._open: set[str] = set()

    @property
    def jobs(self) -> list[Watched]:
        """Return the jobs that are shown: all that were live since the beginning, or those that are wanted."""
        every = (job for job in self._roster.jobs.values() if not job.late)
        return [job for job in every if not self.only or job.id in self.only]

    @property
    def over(self) -> bool:
        """Tell whether nothing is left to be waited for: neither an end, nor what ended jobs told last."""
        return not any(job.live or job.owed for job in self.jobs)

    def follow(self, *, timeout: float | None = None) -> Iterator[Look]:
        """Yield each look until all jobs have ended, or rest.

        Raises `NotYetError` after `timeout` seconds, and the error of a provider that cannot be asked (a key that it
        does not take) where only its jobs are left.
        """
        clock, started = self.desk.clock, self.desk.clock.monotonic()
        try:
            while True:
                yield self.turn()
                if self.over and not self._busy():
                    return
                self._raise_if_stuck()
                pause = self.wait()
                if timeout is not None and clock.monotonic() - started + pause > timeout:
                    living = sum(job.live for job in self.jobs)
                    if not living:
                        return
                    raise NotYetError(f"{living} jobs have not ended after {timeout:.0f} s", fix="anytune watch --all")
                clock.sleep(pause)
        finally:
            self.close()

    def close(self) -> None:
        """Leave the providers to other processes."""
        for lane in self._errands.values():
            lane.close()
        for source in self.sources.values():
            source.lane.close()
            source.lease.release()

    def wait(self) -> float:
        """Return the seconds until something is due."""
        groups = self._roster.by_provider()
        due = [source.pace.next for name, source in self.sources.items() if name in groups and not source.busy]
        now, works = self.desk.clock.monotonic(), self._open or any(source.busy for source in self.sources.values())
        soonest = min([*due, self._read_at + self._read_every(), *([now + SOON] if works else [])])
        return max(0.01, soonest - now)

    def turn(self) -> Look:
        """Do what is due now, and tell what is new."""
        now = self.desk.clock.monotonic()
        looks = list(self._taken_in())
        if now - self._read_at >= self._read_every():
            looks.append(Look(tuple(self._read(now).values())))
        self._carry_on(now)
        for name, jobs in self._roster.by_provider().items():
            source = self._source(name, jobs[0], now)
            if not source.busy and source.pace.next <= now and self._may_ask(source):
                source.busy = True
                source.lane.start(partial(self._ask, source, tuple(jobs)))
        looks += self._taken_in()
        changed = {job.id: job for look in looks for job in look.changed if not job.late}
        notices = tuple(notice for look in looks for notice in look.notices)
        return Look(tuple(changed.values()), notices)

    def _taken_in(self) -> Iterator[Look]:
        """Take in what the lanes brought back."""
        for lane in [*self._errands.values(), *(source.lane for source in self.sources.values())]:
            for taken in lane.done():
                yield taken()

    def _lane(self, name: str) -> Lane[Taken]:
        return Inline(self.desk) if self.lane is None else self.lane(name)

    def _busy(self) -> bool:
        """Tell whether a provider is being asked about a job that is shown, or for what one told last."""
        asked = {name for name, source in self.sources.items() if source.busy}
        late = () if self.only else (job for job in self._roster.jobs.values() if job.late)
        return bool(asked) and any(job.provider in asked for job in (*self.jobs, *late))

    def _read_every(self) -> float:
        return READ + READ_EACH * len(self._roster.jobs)

    def _read(self, now: float) -> dict[str, Watched]:
        """Read the record, and of some jobs that move the events that others took in."""
        first = self._read_at == float("-inf")
        self._read_at = now
        asked = {name for name, source in self.sources.items() if source.busy}
        changed = {job.id: job for job in self._roster.read(now, but=asked)}
        moving = [job for job in self._roster.jobs.values() if job.state in MOVING]
        for job in [job for job in moving if first or not self._asks(job)][:SHOWN]:
            step = (job.step, job.loss)
            job.learn(self.desk.store.events(job.id)[-SHOWN:])
            if (job.step, job.loss) != step:
                job.moved, changed[job.id] = now, job
        return changed

    def _asks(self, job: Watched) -> bool:
        return job.local or (job.provider in self.sources and self.sources[job.provider].lease.held)

    def _source(self, name: str, job: Watched, now: float) -> Source:
        if name not in self.sources:
            pace = Turns(local=job.local, random=self.random, next=now)
            lane: Lane[Taken] = Inline(self.desk) if job.local else self._lane(name)
            self.sources[name] = Source(name, pace, Lease(self.home / "sweeps", name), lane)
        return self.sources[name]

    def _ask(self, source: Source, jobs: Sequence[Watched], desk: Desk) -> Taken:
        """Have a provider's turn, in its lane."""
        inquiry = Inquiry(source.name, desk, source.pace)
        try:
            inquiry.ask(jobs)
        except (ProviderError, CredentialError, UsageError) as error:
            return partial(self._answered, source, inquiry, len(jobs), error)
        return partial(self._answered, source, inquiry, len(jobs), None)

    def _answered(
        self, source: Source, inquiry: Inquiry, jobs: int, error: ProviderError | CredentialError | UsageError | None
    ) -> Look:
        """Take in how a turn went."""
        now, notices = self.desk.clock.monotonic(), list(inquiry.notices)
        source.busy = False
        if error is None:
            source.pace.done(now, jobs, able=inquiry.able)
            if source.told and source.pace.failures == 0:
                source.told = False
                notices.append(Notice(f"{source.name} answers again", "info"))
        elif isinstance(error, ProviderError):
            source.pace.failed(now, jobs, error)
            notices += source.failed(error, now)
        else:
            source.shut, source.key = error, self.mark(source.name)
            for job in (job for job in self._roster.by_provider().get(source.name, ()) if job.owed):
                job.owed, inquiry.changed[job.id] = 0, job
            source.pace.rest(now)
            if any(job.provider == source.name for job in self.jobs):
                notices.append(Notice(f"{error.message}; its jobs are kept, all others are watched on", "error"))
        source.note(self.desk.clock)
        self._roster.regroup(source.name)
        return Look(tuple(inquiry.changed.values()), tuple(notices))

    def _may_ask(self, source: Source) -> bool:
        """Tell whether a provider is to be asked now: no key was refused, nobody else asks, it is time."""
        clock, now = self.desk.clock, self.desk.clock.monotonic()
        source.pace.rest(now)
        if source.shut is not None:
            if self.mark(source.name) == source.key:
                return False
            source.shut = None
        if source.pace.local or source.lease.held:
            return True
        left = source.lease.seconds_left(clock.now())
        if not source.lease.take():
            self._read_at = min(self._read_at, now - self._read_every())  # it is for others to write
            source.pace.next = now + min(left + SOON, 2 * EVERY[False])
            return source.lease.is_overdue(clock.now())
        if left:  # whoever had it before us asked a moment ago
            source.pace.next = now + left
        return not left

    def _carry_on(self, now: float) -> None:
        """Begin to finish the submits that were begun, a stopped one after a while again."""
        for job in self._roster.submitting():
            if now >= self._begun.get(job.id, now):
                self._begun[job.id] = float("inf")
                self._open.add(job.id)
                if job.provider not in self._errands:
                    self._errands[job.provider] = self._lane(f"submits to {job.provider}")
                self._errands[job.provider].start(partial(self._finish, job))

    def _finish(self, job: Watched, desk: Desk) -> Taken:
        """Carry a submit on, in its lane."""
        try:
            carry_on(job.id, desk=desk)
        except AnytuneError as error:
            return partial(self._finished, job, error)
        return partial(self._finished, job, None)

    def _finished(self, job: Watched, error: AnytuneError | None) -> Look:
        """Take in that a submit is through, and say what stopped it."""
        self._open.discard(job.id)
        self._begun[job.id] = self.desk.clock.monotonic() + ERRAND_AGAIN
        self._read_at = float("-inf")
        if error is None or job.told == error.message:
            return Look()
        job.told = error.message
        return Look((), (Notice(f"{job.id} could not be submitted: {error.message}", "error"),))

    def _raise_if_stuck(self) -> None:
        """Raise why, where all jobs that are left are with providers that are not asked any more."""
        living = [job for job in self.jobs if job.live]
        sources = [self.sources.get(job.provider) for job in living]
        errors = [source.shut for source in sources if source is not None and source.shut is not None]
        if errors and len(errors) == len(living):
            raise errors[0]
