"""The way to one database: its session, its schema brought to the newest, and what is told of what goes wrong there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from anytune.errors import StoreError
from anytune.store import beside, libpq, mend, row
from anytune.store.migration import CHARGES, statements
from anytune.store.migration import POSTGRES as MIGRATIONS

SCHEMA = "anytune"


class Session:
    """Be a session with a database, made anew where it was cut; its record has the newest schema."""

    def __init__(self, address: str, *, busy_seconds: float = 10.0) -> None:
        """Open it, making the tables when they are not there; raise `StoreError` when it cannot be used."""
        self._address = address
        self._parts = libpq.parts(address)
        self._busy = busy_seconds
        with self.told():
            self._db = self.another()
            version = _version(self._db)
        if version < len(MIGRATIONS):
            with self.told(denied=mend.OWNER if version else mend.FIRST_OPENED):
                version = self._migrate()
        if version > len(MIGRATIONS):
            raise row.newer(self.place, version)

    @property
    def place(self) -> str:
        """Name the database as errors do: user, host and name."""
        host, port = self._parts.get("host", ""), self._parts.get("port")
        return f"postgresql://{self._user}@{host}{f':{port}' if port else ''}/{self._name}"

    @property
    def _user(self) -> str:
        return str(self._parts.get("user", ""))

    @property
    def _name(self) -> str:
        return str(self._parts.get("dbname", self._user))

    def another(self) -> psycopg.Connection:
        """Open one more session with this database, which the caller closes."""
        return libpq.connected(self._address, self._parts, schema=SCHEMA, busy_seconds=self._busy)

    def alive(self) -> psycopg.Connection:
        """Return the session; one that was cut while it was idle is made anew."""
        try:
            self._db.execute("SELECT 1")
        except psycopg.OperationalError:
            self._db = self.another()
        return self._db

    def read(self, query: str, values: Any = ()) -> Sequence[Any]:
        """Return what a query finds."""
        with self.told():
            return self.alive().execute(query.encode(), values).fetchall()

    @contextmanager
    def work(self, held: psycopg.Connection | None = None) -> Iterator[psycopg.Connection]:
        """Run one transaction, by the session that is `held` for a job or by this one."""
        with self.told():
            db = held or self.alive()
            with db.transaction():
                if _version(db) != len(MIGRATIONS):
                    raise StoreError(f"{self.place}: {row.TAKEN_OVER}", fix="pip install -U anytune")
                yield db

    @contextmanager
    def told(self, *, denied: str = mend.GRANTS) -> Iterator[None]:
        """Tell what the server or libpq says as an error of ours, with the way to mend it."""
        try:
            yield
        except psycopg.Error as error:
            message, code = libpq.said(error), error.sqlstate
            fix = denied if code == mend.DENIED else mend.for_postgres(code, message)
            fix = fix.format(user=self._user, database=self._name)
            raise StoreError(f"{self.place}: {message}", fix=fix) from error

    def _migrate(self) -> int:
        """Bring the record to the newest schema, one process at a time, and return the schema that it has."""
        with self._db.transaction():
            libpq.alone(self._db, "schema")
            version = _version(self._db)
            if not version:
                if not _value(self._db, "SELECT 1 FROM pg_namespace WHERE nspname = %s", SCHEMA):
                    self._db.execute(f"CREATE SCHEMA {SCHEMA}")
                self._db.execute("CREATE TABLE version (number INTEGER NOT NULL)")
                self._db.execute("INSERT INTO version VALUES (0)")
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements(script):
                    self._db.execute(statement.encode())
                if number == CHARGES:
                    self._charge_all()
                self._db.execute("UPDATE version SET number = %s", (number,))
            if 0 < version < len(MIGRATIONS):
                self._grant_alike()
        return max(version, len(MIGRATIONS))

    def _grant_alike(self) -> None:
        """Let those who share the record do with its newest tables what they may do with its jobs."""
        found = self._db.execute(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_schema = %s "
            "AND table_name = 'jobs' AND grantee <> current_user AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE')",
            (SCHEMA,),
        ).fetchall()
        for whom, right in found:
            grantee = sql.SQL("PUBLIC") if whom == "PUBLIC" else sql.Identifier(whom)
            given = sql.SQL("GRANT {} ON ALL TABLES IN SCHEMA {} TO {}")
            self._db.execute(given.format(sql.SQL(right), sql.Identifier(SCHEMA), grantee))

    def _charge_all(self) -> None:
        """Write what older jobs count for; a job that cannot be read is told when it is asked for."""
        for (body,) in self._db.execute("SELECT body FROM jobs").fetchall():
            if (job := row.readable(body)) is not None:
                beside.charge(runner(self._db), job)


def runner(db: psycopg.Connection) -> beside.Run:
    """Return how this database runs a statement with `?` for its values."""

    def run(statement: str, values: Sequence[Any] = ()) -> list[Any]:
        found = db.execute(statement.replace("?", "%s").encode(), values)
        return found.fetchall() if found.description else []

    return run


def _version(db: psycopg.Connection) -> int:
    """Return the schema of the record, 0 where there is none.

    The catalogue is asked as a table: functions such as to_regclass may miss what another session has just made.
    """
    if not _value(db, "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'version'", SCHEMA):
        return 0
    return int(_value(db, f"SELECT number FROM {SCHEMA}.version"))


def _value(db: psycopg.Connection, query: str, *values: Any) -> Any:
    found = db.execute(query.encode(), values).fetchone()
    return found[0] if found else None
