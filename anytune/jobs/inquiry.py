"""One provider's turn of the sweep: what it is asked, and what its answers change in the record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from anytune.errors import (
    AmbiguousError,
    MalformedAnswerError,
    NotFoundError,
    ProviderError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
)
from anytune.jobs.alarm import raised
from anytune.jobs.desk import Desk, record
from anytune.jobs.life import YOUNG, fetch_events
from anytune.jobs.turns import Turns
from anytune.jobs.watched import LAST_WORDS, MOVING, Watched
from anytune.providers.base import Sweeps
from anytune.schema.job import Event, JobState, RemoteJob

STALLED = {True: 600.0, False: 3600.0}  # seconds without any news after which a job is said to stall
HEAR = {True: 1.0, False: 60.0}  # seconds between two questions for one job's events
LOST_AGAIN = 1800.0  # seconds after which a job that its provider does not know is asked for again
RECKON = 60.0  # seconds between two close looks at what a job has cost
FAULT_AGAIN = 300.0  # seconds after which a job about which nonsense was answered is asked for alone again


@dataclass(frozen=True)
class Notice:
    """Say one thing to the user, once."""

    text: str
    level: str = "warning"


@dataclass
class Inquiry:
    """Ask one provider about jobs and take in what it says.

    An error after which the provider is to be left alone for a while is raised; what is wrong with one job is told once
    and harms no other.
    """

    name: str
    desk: Desk
    pace: Turns
    changed: dict[str, Watched] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    able: bool = False

    def ask(self, jobs: Sequence[Watched]) -> None:
        """Have one turn."""
        now = self.desk.clock.monotonic()
        provider = self.desk.provider(self.name)
        self.able = isinstance(provider, Sweeps)
        lister = provider if isinstance(provider, Sweeps) and self.pace.trusts_lists(now) else None
        self.pace.lists = lister is not None
        open_ones = [job for job in jobs if not job.state.is_terminal]
        most, until = self.pace.singles(len(jobs), listed=bool(open_ones)), now + self.pace.interval(len(jobs))
        if lister is not None:
            self._list(lister, [job for job in open_ones if not job.alone])
        singly = list(_alone(open_ones, now, every=lister is None))[:most]
        left = most - len(singly) if lister is not None else most
        for job in self._in_time(singly, until):
            self._single(job)
        for job in list(self._to_hear(jobs, now))[:left]:
            if job.owed or self.desk.clock.monotonic() < until:
                self._hear(job)
        at = self.desk.clock.now()
        for job in jobs:
            self._note_stall(job)
            if job.live and job.may_be_past(at) and now - job.reckoned >= RECKON:
                job.reckoned = now
                self._note_alarm(job)

    def _in_time(self, jobs: Sequence[Watched], until: float) -> Iterator[Watched]:
        """Yield jobs while their turn lasts: of a provider that answers slowly the list comes first again."""
        return takewhile(lambda _: self.desk.clock.monotonic() < until, jobs)

    def _list(self, provider: Sweeps, jobs: Sequence[Watched]) -> None:
        wanted = {job.remote.id: job for job in jobs if job.remote is not None}
        if not wanted:
            return
        made = [job.remote.created_at for job in jobs if job.remote is not None]
        known = [at for at in made if at is not None]
        found = provider.retrieve_many(wanted.keys(), since=min(known) if len(known) == len(made) else None)
        for remote_id, job in wanted.items():
            remote = found.get(remote_id)
            if remote is None:
                job.alone = True  # from now on, until it is clear what became of it
            elif remote != job.remote:  # of nearly all nothing is new
                self._take(job, remote)

    def _single(self, job: Watched) -> None:
        """Ask for one job alone."""
        assert job.remote is not None
        clock = self.desk.clock
        job.asked = clock.monotonic()
        try:
            remote = self.desk.provider(self.name).retrieve(job.remote.id)
        except NotFoundError as error:
            self._not_there(job, error)
        except (MalformedAnswerError, RejectedError) as error:
            job.again = clock.monotonic() + FAULT_AGAIN
            self._tell(job, "nonsense", f"{job.id}: {error.message}; it is asked for again")
        else:
            # what the list did not show a moment ago it may show by now: a list lags
            job.alone, job.again = False, clock.monotonic() + self.pace.interval(1)
            self._take(job, remote)

    def _not_there(self, job: Watched, error: NotFoundError) -> None:
        clock, known = self.desk.clock, self.desk.store.get(job.id)
        if (clock.now() - (known.creating or known.created_at)).total_seconds() < YOUNG:
            job.alone, job.again = False, clock.monotonic() + self.pace.interval(1)
            return
        job.alone, job.again = True, clock.monotonic() + LOST_AGAIN
        if job.local:  # in a store that several machines share it may run on another
            job.elsewhere = True  # which is true of this machine alone, and so nothing for the record
            self.notices.append(Notice(f"{job.id} does not run on this machine"))
            return
        assert job.remote is not None
        self._take(job, job.remote.model_copy(update={"state": JobState.UNKNOWN, "error": error.message}))
        self._tell(job, "gone", f"{job.id}: {self.name} knows it no more; it is kept, and asked for now and then")

    def _take(self, job: Watched, remote: RemoteJob) -> None:
        """Write down what the provider says, if that is anything new."""
        if remote.mark != job.mark:  # it notes a change that no other field shows
            job.mark, job.moved, job.stalled = remote.mark, self.desk.clock.monotonic(), False
        if remote.mark or remote.told is not None:
            remote = remote.model_copy(update={"mark": "", "told": None})
        if remote == job.remote:
            return
        strange = remote.state is JobState.UNKNOWN and remote.error is None
        try:
            if not self._record(job, remote):
                return
        except ProviderError as error:
            self._tell(job, "odd", f"{job.id}: {error.message}")
            return
        self.changed[job.id] = job
        if job.state.is_terminal:
            job.grant(LAST_WORDS)
        if job.state in MOVING:
            job.heard = float("-inf")  # with a change come events
        if strange:
            said = f"{self.name} says of {job.id} that it is {remote.status!r}: unheard of, followed on"
            self._tell(job, f"word {remote.status}", said)

    def _record(self, job: Watched, remote: RemoteJob) -> bool:
        """Write it into the record, unless another process was quicker; return whether the job stands otherwise."""
        assert job.remote is not None
        now = self.desk.clock.monotonic()
        if remote.id != job.remote.id:
            job.hear(fetch_events(job, desk=self.desk, patience=0.0), now=now)
        with self.desk.store.acting(job.id):
            current = self.desk.store.get(job.id)
            moved = current.remote is not None and current.remote.id != job.remote.id
            overtaken = current.updated_at != job.updated_at and not remote.state.is_terminal
            return job.take(current if moved or overtaken else record(current, remote, self.desk), now=now)

    def _to_hear(self, jobs: Sequence[Watched], now: float) -> Iterator[Watched]:
        """Yield the jobs whose events are due: those that ended, in this turn or before, then those that move, or may
        stall.
        """
        often, silent = HEAR[self.pace.local], STALLED[self.pace.local]
        ended, due = [job for job in jobs if job.owed], []
        for job in (job for job in jobs if not job.state.is_terminal):
            unheard, quiet = now - job.heard, now - job.moved
            if (
                not job.alone
                and unheard >= (often if job.state in MOVING else silent)
                and (job.state in MOVING or quiet >= silent)
            ):
                due.append(job)
        for group in (ended, due):
            yield from sorted(group, key=lambda job: (job.heard, job.id))

    def _hear(self, job: Watched) -> None:
        """Take in a job's events; that they cannot be had is no reason to leave the provider alone."""
        ended, job.heard, job.owed = job.owed > 0, self.desk.clock.monotonic(), max(0, job.owed - 1)
        fresh: Sequence[Event] = ()
        try:
            fresh = fetch_events(job, desk=self.desk, patience=0.0)
            job.owed = 0
        except RateLimitedError:
            raise
        except (AmbiguousError, RejectedError, UnavailableError):
            pass
        finally:
            if ended and not job.owed:
                self.changed[job.id] = job
        if job.hear(fresh, now=job.heard):
            self.changed[job.id] = job

    def _note_stall(self, job: Watched) -> None:
        """Say that a job stalls of which there were no news for long, its events having been asked for in vain."""
        now, silent = self.desk.clock.monotonic(), STALLED[self.pace.local]
        if job.live and not (job.stalled or job.alone) and job.heard - job.moved >= silent:
            job.stalled = True
            at = f" at step {job.step:,} of {job.steps:,}" if job.steps else ""
            minutes = int((now - job.moved) // 60)
            self.notices.append(Notice(f"{job.id} ({job.state}{at}): no news from {self.name} for {minutes} min"))

    def _note_alarm(self, job: Watched) -> None:
        """Look closely at a job that may be past its estimate, and tell it once, to all processes together."""
        found = raised(self.desk.store.get(job.id), self.desk, step=job.step, steps=job.steps)
        if found is not None:
            job.alarmed = True
            self.notices.append(Notice(found.message))

    def _tell(self, job: Watched, kind: str, text: str) -> None:
        """Say something about a job once for all processes, until its state is another: the record says what was."""
        if job.told == kind:
            return
        job.told = kind
        known = self.desk.store.get(job.id)
        since = known.history[-1].since if known.history else known.created_at
        mark = hashlib.sha256(f"{kind}\n{since.isoformat()}".encode()).hexdigest()[:16]
        event = Event(id=f"told-{mark}", at=self.desk.clock.now(), level="warning", message=text)
        if self.desk.store.add_events(job.id, [event]):
            self.notices.append(Notice(text))


def _alone(jobs: Sequence[Watched], now: float, *, every: bool) -> Iterator[Watched]:
    """Yield the jobs that are to be asked for by themselves, those first that were longest not asked for."""
    yield from sorted((j for j in jobs if (every or j.alone) and j.again <= now), key=lambda job: (job.asked, job.id))
