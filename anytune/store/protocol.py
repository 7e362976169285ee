"""What every store of jobs can do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from anytune.schema.audit import Decision, Link
from anytune.schema.job import Event, Job, News, Summary
from anytune.schema.money import Charge, Limit, Standing


class JobStore(Protocol):
    """Remember jobs and their events; `StoreContract` says the rest, as tests."""

    def add(self, job: Job) -> Job:
        """Write a new job and return it, or return the one that already stands under its name and attempt."""
        ...

    def put(self, job: Job, *, ended: bool = False) -> None:
        """Write a job that is there; when this returns, it outlives a crash.

        With one that has just `ended` goes the news of it, and that its last events are not known yet.
        """
        ...

    def reserve(self, job: Job, *, dearest: Decimal | None, limits: Sequence[Limit]) -> Sequence[Standing]:
        """Write a job with its newest order, if that fits into all limits of its month; return those that it does not.

        One process at a time looks and writes, so that no two orders are given for the same money. `dearest` is what
        the order may cost at most.
        """
        ...

    def charges(self, month: str) -> Sequence[Charge]:
        """Return what counts for a month (`2026-11`), job by job."""
        ...

    def get(self, job_id: str) -> Job:
        """Return one job: by id, unique beginning of one, name (the newest) or `last`; else `UsageError`."""
        ...

    def list(self, *, name: str | None = None, provider: str | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        ...

    def summaries(self) -> Sequence[Summary]:
        """Return what a list shows of every job, newest first, without reading their plans."""
        ...

    def add_events(self, job_id: str, events: Sequence[Event], *, last: bool = False) -> Sequence[Event]:
        """Write the events that are not there yet, by id, and return those, in order.

        With the `last` ones of a job it is known that there are no more to be had.
        """
        ...

    def raise_alarm(self, job: Job, event: Event, *, what: str, body: str) -> bool:
        """Write an event and the news of it, unless the event is there; return whether it was not."""
        ...

    def event_ids(self, job_id: str) -> frozenset[str]:
        """Return the ids of a job's events, without reading the events."""
        ...

    def unheard(self) -> frozenset[str]:
        """Return the jobs that have ended, but whose last events were not taken in."""
        ...

    def untold(self, whom: str, *, since: datetime) -> Sequence[News]:
        """Return the news from a time on that one was not told, oldest first."""
        ...

    def told(self, news: News, whom: str) -> None:
        """Note that one was told some news."""
        ...

    def events(self, job_id: str) -> Sequence[Event]:
        """Return all events of a job, oldest first."""
        ...

    def decide(self, decision: Decision) -> Link:
        """Write a decision behind the last one and return it sealed; no decision is ever changed."""
        ...

    def decisions(self) -> Sequence[Link]:
        """Return all decisions, oldest first, as they stand: whether their seals hold is for the reader to see."""
        ...

    def last_decision(self, job_id: str) -> Link | None:
        """Return the newest decision about a job, None if there is none; the others are not read."""
        ...

    def acting(self, job_id: str) -> AbstractContextManager[None]:
        """Hold the right to act for a job: one process at a time; it ends with the process."""
        ...
