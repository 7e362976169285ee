"""The record of jobs: SQLite in one file, written so that a crash at any instant loses nothing that was acknowledged.

Rollback journal with `synchronous=extra`: SQLite's WAL could lose committed writes before 3.51.3 (sqlite.org), and
job records are few. The folder is 0700 and the file 0600: records hold the paths and the settings of the user's work.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from anytune.errors import ConflictError, StoreError, UsageError
from anytune.schema.audit import START, Decision, Link
from anytune.schema.job import Event, Job

ANOTHER_HOME = "set ANYTUNE_HOME to a folder of yours"
MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        name TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (provider, name, attempt)
    );
    CREATE TABLE events (
        job_id TEXT NOT NULL REFERENCES jobs (id),
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job_id, id)
    );
    """,
    """
    CREATE TABLE decisions (
        position INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL,
        body TEXT NOT NULL,
        before TEXT NOT NULL,
        seal TEXT NOT NULL
    );
    CREATE INDEX decisions_of_a_job ON decisions (job_id);
    """,
)


class JobStore(Protocol):
    """Remember jobs and their events; `StoreContract` says the rest, as tests."""

    def add(self, job: Job) -> Job:
        """Write a new job and return it, or return the one that already stands under its name and attempt."""
        ...

    def put(self, job: Job) -> None:
        """Write a job that is there; when this returns, it outlives a crash."""
        ...

    def get(self, job_id: str) -> Job:
        """Return one job: by id, unique beginning of one, name (the newest) or `last`; else `UsageError`."""
        ...

    def list(self, *, name: str | None = None, provider: str | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        ...

    def add_events(self, job_id: str, events: Sequence[Event]) -> Sequence[Event]:
        """Write the events that are not there yet, by id, and return those, in order."""
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

    def acting(self, job_id: str) -> AbstractContextManager[None]:
        """Hold the right to act for a job: one process at a time; it ends with the process."""
        ...


class SqliteStore:
    """Keep jobs in `<home>/jobs.sqlite3`."""

    def __init__(self, home: Path, *, busy_seconds: float = 10.0) -> None:
        """Open the store, making it when it is not there; raise `StoreError` when it cannot be used."""
        self._home = home
        self._path = home / "jobs.sqlite3"
        self._make_home()
        with self._told():
            self._db = sqlite3.connect(self._path, timeout=busy_seconds, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
            self._db.execute("PRAGMA synchronous = EXTRA")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate()

    def add(self, job: Job) -> Job:
        """Write a new job and return it, or return the one that already stands under its name and attempt."""
        row = (
            job.id,
            job.provider,
            job.name,
            job.attempt,
            job.plan.fingerprint,
            job.state,
            job.created_at.isoformat(),
            job.model_dump_json(),
        )
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            found = db.execute(
                "SELECT body FROM jobs WHERE provider = ? AND name = ? AND attempt = ?",
                (job.provider, job.name, job.attempt),
            ).fetchone()
        if found is None:
            raise ConflictError(f"the id {job.id} is taken by another job")
        return self._read(found[0])

    def put(self, job: Job) -> None:
        """Write a job that is there; when this returns, it outlives a crash."""
        with self._writing() as db:
            row = (job.state, job.model_dump_json(), job.id)
            if db.execute("UPDATE jobs SET state = ?, body = ? WHERE id = ?", row).rowcount != 1:
                raise StoreError(f"no job {job.id} in {self._path}")

    def get(self, job_id: str) -> Job:
        """Return one job: by id, unique beginning of one, name (the newest) or `last`; else `UsageError`."""
        with self._told():
            rows = self._db.execute(*_selection(job_id)).fetchall() if job_id else []
        exact = [row for row in rows if row[0] == job_id] or [row for row in rows if row[1] == job_id][:1]
        if len(exact or rows) == 1:
            return self._read((exact or rows)[0][2])
        if not rows:
            raise UsageError(f"there is no job {job_id!r}", fix="anytune list shows the jobs")
        raise UsageError(f"{job_id!r} begins {len(rows)} jobs: {', '.join(row[0] for row in rows[:5])}")

    def list(self, *, name: str | None = None, provider: str | None = None) -> Sequence[Job]:
        """Return jobs, newest first."""
        wanted = {"name": name, "provider": provider}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = :{column}" for column in given) or "1"
        with self._told():
            rows = self._db.execute(
                f"SELECT body FROM jobs WHERE {where} ORDER BY created_at DESC, rowid DESC", given
            ).fetchall()
        return [self._read(row[0]) for row in rows]

    def add_events(self, job_id: str, events: Sequence[Event]) -> Sequence[Event]:
        """Write the events that are not there yet, by id, and return those, in order."""
        if not events:
            return []
        fresh = []
        with self._writing() as db:
            known = {row[0] for row in db.execute("SELECT id FROM events WHERE job_id = ?", (job_id,))}
            for event in events:
                if event.id not in known:
                    known.add(event.id)
                    row = (job_id, event.id, len(known), event.model_dump_json())
                    db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", row)
                    fresh.append(event)
        return fresh

    def events(self, job_id: str) -> Sequence[Event]:
        """Return all events of a job, oldest first."""
        with self._told():
            rows = self._db.execute("SELECT body FROM events WHERE job_id = ? ORDER BY position", (job_id,)).fetchall()
        return [Event.model_validate_json(row[0]) for row in rows]

    def decide(self, decision: Decision) -> Link:
        """Write a decision behind the last one and return it sealed; no decision is ever changed."""
        with self._writing() as db:
            last = db.execute("SELECT seal FROM decisions ORDER BY position DESC LIMIT 1").fetchone()
            link = Link.after(last[0] if last else START, decision)
            row = (decision.job_id, link.text, link.before, link.seal)
            db.execute("INSERT INTO decisions (job_id, body, before, seal) VALUES (?, ?, ?, ?)", row)
        return link

    def decisions(self) -> Sequence[Link]:
        """Return all decisions, oldest first, as they stand: whether their seals hold is for the reader to see."""
        with self._told():
            rows = self._db.execute("SELECT body, before, seal FROM decisions ORDER BY position").fetchall()
        return [Link(text=text, before=before, seal=seal) for text, before, seal in rows]

    @contextmanager
    def acting(self, job_id: str) -> Iterator[None]:
        """Hold the right to act for a job; the kernel frees it when the process ends, however it ends."""
        folder = self._home / "locks"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(folder / f"{job_id}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write in {folder}: {error.strerror}", fix=ANOTHER_HOME) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _make_home(self) -> None:
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            why = "a file stands where a folder should" if isinstance(error, FileExistsError) else error.strerror
            raise StoreError(f"cannot write {self._path}: {why}", fix=ANOTHER_HOME) from error

    def _migrate(self) -> None:
        with self._writing() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{self._path} was written by a newer anytune (schema {version})",
                    fix="pip install -U anytune",
                )
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, script.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction that is the only writer from its first statement on."""
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._db.execute("ROLLBACK")
                raise

    def _read(self, body: str) -> Job:
        try:
            return Job.model_validate_json(body)
        except ValidationError as error:
            raise StoreError(
                f"{self._path} holds a job that another version of anytune wrote", fix="pip install -U anytune"
            ) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self._path}: {error}", fix=_mend(str(error))) from error


def _selection(job_id: str) -> tuple[str, dict[str, str]]:
    newest = "SELECT id, name, body FROM jobs {} ORDER BY created_at DESC, rowid DESC {}"
    if job_id == "last":
        return newest.format("", "LIMIT 1"), {}
    return newest.format("WHERE substr(id, 1, length(:id)) = :id OR name = :id", ""), {"id": job_id}


def _mend(message: str) -> str:
    if "locked" in message:
        return "another anytune is writing; try again in a moment"
    if "readonly" in message:
        return f"the file or its folder may not be written; {ANOTHER_HOME}"
    if "full" in message:
        return "the disk is full; nothing was lost, make room and run it again"
    return "restore the file, or move it aside to begin anew (jobs at providers live on)"
