"""The record of jobs as one SQLite file, written so that a crash at any instant loses nothing that was acknowledged.

Rollback journal with `synchronous=extra`: SQLite's WAL could lose committed writes before 3.51.3 (sqlite.org), and
job records are few. The folder is 0700 and the file 0600: records hold the paths and the settings of the user's work.

The file appears whole: it is made under another name and moved into place, so that an empty file is never a new record
but always a lost one. It is opened by SQLite alone: to close any other descriptor of it would drop SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from anytune import private, spending
from anytune.errors import ConflictError, StoreError
from anytune.schema.audit import START, Decision, Link
from anytune.schema.job import Event, Job, News, Summary
from anytune.schema.money import Charge, Limit, Standing
from anytune.store import beside, folder, mend, row
from anytune.store.migration import CHARGES, SUMMARIES, statements
from anytune.store.migration import SQLITE as MIGRATIONS


class SqliteStore:
    """Keep jobs in `<home>/jobs.sqlite3`."""

    def __init__(self, home: Path, *, busy_seconds: float = 10.0) -> None:
        """Open the store, making it when it is not there; raise `StoreError` when it cannot be used."""
        self._home = home
        self._path = home / "jobs.sqlite3"
        self._busy = busy_seconds
        folder.make(self._home, self._path)
        if not self._path.exists():
            self._make_record()
        folder.look_at(self._path)
        with self._told():
            self._db = self._opened(self._path)
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
            if self._version() != len(MIGRATIONS):
                self._migrate(self._db)

    def add(self, job: Job) -> Job:
        """Write a new job and return it, or return the one that already stands under its name and attempt."""
        given = (job.id, job.provider, job.name, job.attempt, job.plan.fingerprint, job.state)
        values = (*given, job.created_at.isoformat(), job.model_dump_json())
        with self._writing() as db:
            if db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values).rowcount == 1:
                beside.summarize(_runner(db), job)
                beside.charge(_runner(db), job)
            found = db.execute(
                "SELECT body FROM jobs WHERE provider = ? AND name = ? AND attempt = ?",
                (job.provider, job.name, job.attempt),
            ).fetchone()
        if found is None:
            raise ConflictError(f"the id {job.id} is taken by another job")
        return row.job_of(found[0], self._path)

    def put(self, job: Job, *, ended: bool = False) -> None:
        """Write a job that is there, with the news of its end; when this returns, it outlives a crash."""
        with self._writing() as db:
            self._change(db, job)
            if ended:
                beside.ended(_runner(db), job)

    def reserve(self, job: Job, *, dearest: Decimal | None, limits: Sequence[Limit]) -> Sequence[Standing]:
        """Write a job with its newest order, if that fits into all limits of its month; return those it does not."""
        with self._writing() as db:
            told = beside.charges(_runner(db), spending.month_of(job.orders[-1].at)) if limits else ()
            refused = spending.against(job, told, limits, dearest=dearest)
            if not refused:
                self._change(db, job)
        return refused

    def charges(self, month: str) -> Sequence[Charge]:
        """Return what counts for a month (`2026-11`), job by job."""
        with self._told():
            return beside.charges(_runner(self._db), month)

    def _change(self, db: sqlite3.Connection, job: Job) -> None:
        values = (job.state, job.model_dump_json(), job.id)
        if db.execute("UPDATE jobs SET state = ?, body = ? WHERE id = ?", values).rowcount != 1:
            raise StoreError(f"no job {job.id} in {self._path}", fix="anytune list shows the jobs")
        beside.summarize(_runner(db), job)
        beside.charge(_runner(db), job)

    def get(self, job_id: str) -> Job:
        """Return one job: by id, unique beginning of one, name (the newest) or `last`; else `UsageError`."""
        with self._told():
            rows = []
            if row.may_name(job_id):  # by its whole id without reading every row
                rows = self._db.execute("SELECT id, name, body FROM jobs WHERE id = ?", (job_id,)).fetchall()
                rows = rows or self._db.execute(*_selection(job_id)).fetchall()
        return row.the_one(rows, job_id, self._path)

    def list(self, *, name: str | None = None, provider: str | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        wanted = {"name": name, "provider": provider}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = :{column}" for column in given) or "1"
        with self._told():
            rows = self._db.execute(
                f"SELECT body FROM jobs WHERE {where} ORDER BY created_at DESC, rowid DESC", given
            ).fetchall()
        return [row.job_of(body, self._path) for (body,) in rows]

    def summaries(self) -> Sequence[Summary]:
        """Return what a list shows of every job, newest first, without reading their plans."""
        with self._told():
            rows = self._db.execute(
                "SELECT s.body, CASE WHEN s.body IS NULL THEN j.body END FROM jobs j LEFT JOIN summaries s USING (id) "
                "ORDER BY j.created_at DESC, j.rowid DESC"
            ).fetchall()
        return row.Summaries(rows, self._path)

    def add_events(self, job_id: str, events: Sequence[Event], *, last: bool = False) -> Sequence[Event]:
        """Write the events that are not there yet, by id, and return those, in order."""
        if not events and not last:
            return []
        with self._writing() as db:
            if last:
                beside.heard(_runner(db), job_id)
            return beside.add_events(_runner(db), job_id, events)

    def raise_alarm(self, job: Job, event: Event, *, what: str, body: str) -> bool:
        """Write an event and the news of it, unless the event is there; return whether it was not."""
        with self._writing() as db:
            first = bool(beside.add_events(_runner(db), job.id, [event]))
            if first:
                beside.announce(_runner(db), job, what, body, at=event.at)
        return first

    def event_ids(self, job_id: str) -> frozenset[str]:
        """Return the ids of a job's events, without reading the events."""
        with self._told():
            return beside.event_ids(_runner(self._db), job_id)

    def unheard(self) -> frozenset[str]:
        """Return the jobs that have ended, but whose last events were not taken in."""
        with self._told():
            return beside.unheard(_runner(self._db))

    def untold(self, whom: str, *, since: datetime) -> Sequence[News]:
        """Return the news from a time on that one was not told, oldest first."""
        with self._told():
            return beside.untold(_runner(self._db), whom, since)

    def told(self, news: News, whom: str) -> None:
        """Note that one was told some news."""
        with self._writing() as db:
            beside.told(_runner(db), news.id, whom)

    def events(self, job_id: str) -> Sequence[Event]:
        """Return all events of a job, oldest first."""
        with self._told():
            rows = self._db.execute("SELECT body FROM events WHERE job_id = ? ORDER BY position", (job_id,)).fetchall()
        return [Event.model_validate_json(body) for (body,) in rows]

    def decide(self, decision: Decision) -> Link:
        """Write a decision behind the last one and return it sealed; no decision is ever changed."""
        with self._writing() as db:
            last = db.execute("SELECT seal FROM decisions ORDER BY position DESC LIMIT 1").fetchone()
            link = Link.after(last[0] if last else START, decision)
            values = (decision.job_id, link.text, link.before, link.seal)
            db.execute("INSERT INTO decisions (job_id, body, before, seal) VALUES (?, ?, ?, ?)", values)
        return link

    def decisions(self) -> Sequence[Link]:
        """Return all decisions, oldest first, as they stand: whether their seals hold is for the reader to see."""
        with self._told():
            rows = self._db.execute("SELECT body, before, seal FROM decisions ORDER BY position").fetchall()
        return [Link(text=text, before=before, seal=seal) for text, before, seal in rows]

    def last_decision(self, job_id: str) -> Link | None:
        """Return the newest decision about a job, None if there is none; the others are not read."""
        query = "SELECT body, before, seal FROM decisions WHERE job_id = ? ORDER BY position DESC LIMIT 1"
        with self._told():
            found = self._db.execute(query, (job_id,)).fetchone()
        return Link(text=found[0], before=found[1], seal=found[2]) if found else None

    @contextmanager
    def acting(self, job_id: str) -> Iterator[None]:
        """Hold the right to act for a job; the kernel frees it when the process ends, however it ends."""
        locks = self._home / "locks"
        try:
            private.folder(locks)
            handle = os.open(locks / f"{job_id}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write in {locks}: {error.strerror}", fix=mend.ANOTHER_HOME) from error
        with folder.alone(handle):
            yield

    def _make_record(self) -> None:
        """Make the file beside its place and move it there whole; of several processes one does."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        home = os.open(self._home, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with folder.alone(home), self._told():
                if self._path.exists():
                    return
                for leftover in (fresh, Path(f"{fresh}-journal")):
                    leftover.unlink(missing_ok=True)
                os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                with closing(self._opened(fresh)) as db:
                    self._migrate(db)
                fresh.replace(self._path)
                os.fsync(home)
        except OSError as error:
            raise StoreError(f"cannot write {self._path}: {error.strerror}", fix=mend.ANOTHER_HOME) from error

    def _opened(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=self._busy, isolation_level=None)
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def _version(self) -> int:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _migrate(self, db: sqlite3.Connection) -> None:
        with _transaction(db):
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise row.newer(self._path, version)
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements(script):
                    db.execute(statement)
                if number == SUMMARIES:
                    self._write_all(db, beside.summarize)
                if number == CHARGES:
                    self._write_all(db, beside.charge)
                db.execute(f"PRAGMA user_version = {number}")

    def _write_all(self, db: sqlite3.Connection, write: Callable[[beside.Run, Job], None]) -> None:
        """Write beside each older job what is new; a job that cannot be read is told when it is asked for."""
        for (body,) in db.execute("SELECT body FROM jobs").fetchall():
            if (job := row.readable(body)) is not None:
                write(_runner(db), job)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction that is the only writer from its first statement on."""
        with self._told(), _transaction(self._db):
            if self._version() != len(MIGRATIONS):
                raise StoreError(f"{self._path}: {row.TAKEN_OVER}", fix="pip install -U anytune")
            yield self._db

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            fix = mend.for_sqlite(getattr(error, "sqlite_errorcode", 0), self._path)
            raise StoreError(f"{self._path}: {error}", fix=fix) from error


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite itself rolls back when the disk is full
            db.execute("ROLLBACK")
        raise


def _runner(db: sqlite3.Connection) -> beside.Run:
    """Return how this database runs a statement."""
    return lambda statement, values=(): db.execute(statement, values).fetchall()


def _selection(job_id: str) -> tuple[str, dict[str, str]]:
    newest = "SELECT id, name, body FROM jobs {} ORDER BY created_at DESC, rowid DESC {}"
    if job_id == "last":
        return newest.format("", "LIMIT 1"), {}
    return newest.format("WHERE substr(id, 1, length(:id)) = :id OR name = :id", ""), {"id": job_id}
