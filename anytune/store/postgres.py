"""The record of jobs in a PostgreSQL database that several people share; the password is libpq's to find, never ours.

Who acts for a job holds an advisory lock by a session of its own, which ends with the process, and writes the job by
that session alone: whoever has lost the lock, because the server or the way to it went away, cannot write the job any
more, and so stops before its next act. Nothing is sent twice by itself: a lost session is made anew only before a
transaction begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal

import psycopg

from anytune import spending
from anytune.errors import ConflictError, StoreError
from anytune.schema.audit import START, Decision, Link
from anytune.schema.job import Event, Job, News, Summary
from anytune.schema.money import Charge, Limit, Standing
from anytune.store import beside, libpq, row
from anytune.store.session import Session, runner


class PostgresStore:
    """Keep jobs in the schema `anytune` of a database."""

    def __init__(self, address: str, *, busy_seconds: float = 10.0) -> None:
        """Open the store, making its tables when they are not there; raise `StoreError` when it cannot be used."""
        self._session = Session(address, busy_seconds=busy_seconds)
        self._held: dict[str, psycopg.Connection] = {}

    @property
    def place(self) -> str:
        """Name the database as errors do: user, host and name."""
        return self._session.place

    def add(self, job: Job) -> Job:
        """Write a new job and return it, or return the one that already stands under its name and attempt."""
        given = (job.id, job.provider, job.name, job.attempt, job.plan.fingerprint, job.state)
        with self._session.work() as db:
            made = db.execute(
                "INSERT INTO jobs (id, provider, name, attempt, fingerprint, state, created_at, body) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*given, job.created_at, job.model_dump_json()),
            )
            if made.rowcount == 1:
                beside.summarize(runner(db), job)
                beside.charge(runner(db), job)
            found = db.execute(
                "SELECT body FROM jobs WHERE provider = %s AND name = %s AND attempt = %s",
                (job.provider, job.name, job.attempt),
            ).fetchone()
        if found is None:
            raise ConflictError(f"the id {job.id} is taken by another job")
        return row.job_of(found[0], self.place)

    def put(self, job: Job, *, ended: bool = False) -> None:
        """Write a job that is there, with the news of its end, by the session that acts for it, if there is one."""
        with self._session.work(self._held.get(job.id)) as db:
            self._change(db, job)
            if ended:
                beside.ended(runner(db), job)

    def reserve(self, job: Job, *, dearest: Decimal | None, limits: Sequence[Limit]) -> Sequence[Standing]:
        """Write a job with its newest order, if that fits into all limits of its month; return those it does not."""
        month = spending.month_of(job.orders[-1].at)
        with self._session.work(self._held.get(job.id)) as db:
            if limits:
                libpq.alone(db, f"charges of {month}")
            refused = spending.against(
                job, beside.charges(runner(db), month) if limits else (), limits, dearest=dearest
            )
            if not refused:
                self._change(db, job)
        return refused

    def charges(self, month: str) -> Sequence[Charge]:
        """Return what counts for a month (`2026-11`), job by job."""
        with self._session.told():
            return beside.charges(runner(self._session.alive()), month)

    def _change(self, db: psycopg.Connection, job: Job) -> None:
        values = (job.state, job.model_dump_json(), job.id)
        if db.execute("UPDATE jobs SET state = %s, body = %s WHERE id = %s", values).rowcount != 1:
            raise StoreError(f"no job {job.id} in {self.place}", fix="anytune list shows the jobs")
        beside.summarize(runner(db), job)
        beside.charge(runner(db), job)

    def get(self, job_id: str) -> Job:
        """Return one job: by id, unique beginning of one, name (the newest) or `last`; else `UsageError`."""
        newest = "SELECT id, name, body FROM jobs {} ORDER BY created_at DESC, position DESC {}"
        if job_id == "last":
            rows = self._session.read(newest.format("", "LIMIT 1"))
        elif row.may_name(job_id):
            where = "WHERE starts_with(id, %(id)s) OR name = %(id)s"
            rows = self._session.read(newest.format(where, ""), {"id": job_id})
        else:
            rows = []
        return row.the_one(rows, job_id, self.place)

    def list(self, *, name: str | None = None, provider: str | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        wanted = {"name": name, "provider": provider}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = %({column})s" for column in given) or "true"
        rows = self._session.read(f"SELECT body FROM jobs WHERE {where} ORDER BY created_at DESC, position DESC", given)
        return [row.job_of(body, self.place) for (body,) in rows]

    def summaries(self) -> Sequence[Summary]:
        """Return what a list shows of every job, newest first, without reading their plans."""
        rows = self._session.read(
            "SELECT s.body, CASE WHEN s.body IS NULL THEN j.body END FROM jobs j LEFT JOIN summaries s USING (id) "
            "ORDER BY j.created_at DESC, j.position DESC"
        )
        return row.Summaries(rows, self.place)

    def add_events(self, job_id: str, events: Sequence[Event], *, last: bool = False) -> Sequence[Event]:
        """Write the events that are not there yet, by id, and return those, in order."""
        if not events and not last:
            return []
        with self._session.work() as db:
            libpq.alone(db, f"events of {job_id}")
            if last:
                beside.heard(runner(db), job_id)
            return beside.add_events(runner(db), job_id, events)

    def raise_alarm(self, job: Job, event: Event, *, what: str, body: str) -> bool:
        """Write an event and the news of it, unless the event is there; return whether it was not."""
        with self._session.work() as db:
            libpq.alone(db, f"events of {job.id}")
            first = bool(beside.add_events(runner(db), job.id, [event]))
            if first:
                beside.announce(runner(db), job, what, body, at=event.at)
        return first

    def event_ids(self, job_id: str) -> frozenset[str]:
        """Return the ids of a job's events, without reading the events."""
        with self._session.told():
            return beside.event_ids(runner(self._session.alive()), job_id)

    def unheard(self) -> frozenset[str]:
        """Return the jobs that have ended, but whose last events were not taken in."""
        with self._session.told():
            return beside.unheard(runner(self._session.alive()))

    def untold(self, whom: str, *, since: datetime) -> Sequence[News]:
        """Return the news from a time on that one was not told, oldest first."""
        with self._session.told():
            return beside.untold(runner(self._session.alive()), whom, since)

    def told(self, news: News, whom: str) -> None:
        """Note that one was told some news."""
        with self._session.work() as db:
            beside.told(runner(db), news.id, whom)

    def events(self, job_id: str) -> Sequence[Event]:
        """Return all events of a job, oldest first."""
        rows = self._session.read("SELECT body FROM events WHERE job_id = %s ORDER BY position", (job_id,))
        return [Event.model_validate_json(body) for (body,) in rows]

    def decide(self, decision: Decision) -> Link:
        """Write a decision behind the last one and return it sealed; no decision is ever changed."""
        with self._session.work() as db:
            libpq.alone(db, "decisions")
            last = db.execute("SELECT position, seal FROM decisions ORDER BY position DESC LIMIT 1").fetchone()
            position, seal = last or (0, START)
            link = Link.after(seal, decision)
            db.execute(
                "INSERT INTO decisions (position, job_id, body, before, seal) VALUES (%s, %s, %s, %s, %s)",
                (position + 1, decision.job_id, link.text, link.before, link.seal),
            )
        return link

    def decisions(self) -> Sequence[Link]:
        """Return all decisions, oldest first, as they stand: whether their seals hold is for the reader to see."""
        rows = self._session.read("SELECT body, before, seal FROM decisions ORDER BY position")
        return [Link(text=text, before=before, seal=seal) for text, before, seal in rows]

    def last_decision(self, job_id: str) -> Link | None:
        """Return the newest decision about a job, None if there is none; the others are not read."""
        query = "SELECT body, before, seal FROM decisions WHERE job_id = %s ORDER BY position DESC LIMIT 1"
        rows = self._session.read(query, (job_id,))
        return next((Link(text=text, before=before, seal=seal) for text, before, seal in rows), None)

    @contextmanager
    def acting(self, job_id: str) -> Iterator[None]:
        """Hold the right to act for a job by a session of its own; the server frees it when the process ends."""
        with self._session.told():
            db = self._session.another()
        try:
            with self._session.told():
                db.execute("SET lock_timeout = 0")
                db.execute("SELECT pg_advisory_lock(%s)", (libpq.key(f"acting for {job_id}"),))
            self._held[job_id] = db
            yield
        finally:
            self._held.pop(job_id, None)
            with suppress(psycopg.Error):  # a session that is gone holds nothing
                db.execute("SELECT pg_advisory_unlock_all()")
            db.close()
