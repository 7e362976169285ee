"""Where a campaign keeps its jobs: a new SQLite home, or a new database on a server of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from anytune.schema.job import Job
from anytune.store import JobStore, SqliteStore, open_store
from anytune.store.migration import POSTGRES, SQLITE, statements
from tests.postgres import Server, served


class Place(Protocol):
    """Be one record, whoever opens it."""

    schemas: int

    def open(self) -> JobStore:
        """Open it, in this process."""
        ...

    def old(self, schema: int, jobs: list[Job]) -> None:
        """Make it as an earlier anytune did, with these jobs."""
        ...

    def whole(self) -> bool:
        """Tell whether the database itself finds nothing broken."""
        ...


class InFile:
    """Be a file."""

    schemas = len(SQLITE)

    def __init__(self, home: Path) -> None:
        self._home = home

    def open(self) -> JobStore:
        return SqliteStore(self._home, busy_seconds=60)

    def old(self, schema: int, jobs: list[Job]) -> None:
        self._home.mkdir()
        with closing(sqlite3.connect(self._home / "jobs.sqlite3")) as db, db:
            for script in SQLITE[:schema]:
                db.executescript(script)
            db.execute(f"PRAGMA user_version = {schema}")
            rows = [(j.id, j.provider, j.name, j.attempt, "", j.state, str(j.created_at), text(j)) for j in jobs]
            db.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def whole(self) -> bool:
        with closing(sqlite3.connect(self._home / "jobs.sqlite3")) as db:
            return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))


class OnServer:
    """Be a database of a server."""

    schemas = len(POSTGRES)

    def __init__(self, server: Server) -> None:
        self._server, self._database = server, server.database()

    def open(self) -> JobStore:
        return open_store(Path("/nowhere"), address=self._server.address(self._database))

    def old(self, schema: int, jobs: list[Job]) -> None:
        import psycopg

        with psycopg.connect(self._server.address(self._database)) as db:
            db.execute("CREATE SCHEMA anytune; SET search_path = anytune; CREATE TABLE version (number INTEGER)")
            db.execute(b"INSERT INTO version VALUES (%d)" % schema)
            for script in POSTGRES[:schema]:
                for statement in statements(script):
                    db.execute(statement.encode())
            columns = "id, provider, name, attempt, fingerprint, state, created_at, body"
            insert = f"INSERT INTO jobs ({columns}) VALUES (%s, %s, %s, %s, '', %s, %s, %s)".encode()
            for j in jobs:
                db.execute(insert, (j.id, j.provider, j.name, j.attempt, j.state, j.created_at, text(j)))

    def whole(self) -> bool:
        return True  # what it promises of itself; that every row is there is looked at elsewhere


def text(job: Job) -> str:
    return job.model_dump_json()


class Places:
    """Make a new place each time one is asked for."""

    def __init__(self, folder: Path, server: Server | None = None) -> None:
        self.folder, self._server, self._made = folder, server, 0

    def new(self) -> Place:
        """Return a place where nothing is."""
        self._made += 1
        return OnServer(self._server) if self._server else InFile(self.folder / f"home{self._made}")


@contextmanager
def places(kind: str, folder: Path) -> Iterator[Places]:
    """Yield places of a kind: `sqlite`, or `postgres` on a server that runs meanwhile."""
    if kind == "sqlite":
        yield Places(folder)
        return
    with served() as server:
        yield Places(folder, server)
