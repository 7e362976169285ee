"""The record of jobs: one SQLite file by default, a PostgreSQL database where several people share one."""

from __future__ import annotations

from pathlib import Path

from anytune.errors import MissingExtraError
from anytune.store.protocol import JobStore
from anytune.store.sqlite import SqliteStore

__all__ = ["JobStore", "SqliteStore", "open_store"]


def open_store(home: Path, *, address: str | None = None) -> JobStore:
    """Open the store at an address (`postgresql://user@host/db`), or the file under `home` if None."""
    if address is None:
        return SqliteStore(home)
    try:
        from anytune.store.postgres import PostgresStore
    except ImportError as error:  # also of psycopg without libpq
        raise MissingExtraError(needs="psycopg", extra="postgres") from error
    return PostgresStore(address)
