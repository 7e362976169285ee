"""The record of jobs: one SQLite file by default, a PostgreSQL database where several people share one.

With it go the budgets of calls, for they are shared by whoever shares the record.
"""

from __future__ import annotations

from pathlib import Path

from anytune.errors import MissingExtraError
from anytune.store.protocol import JobStore
from anytune.store.rates import HomeRates, Rates, Slip
from anytune.store.row import Summaries
from anytune.store.sqlite import SqliteStore

__all__ = ["HomeRates", "JobStore", "Rates", "Slip", "SqliteStore", "Summaries", "open_rates", "open_store"]


def open_store(home: Path, *, address: str | None = None) -> JobStore:
    """Open the store at an address (`postgresql://user@host/db`), or the file under `home` if None."""
    if address is None:
        return SqliteStore(home)
    try:
        from anytune.store.postgres import PostgresStore
    except ImportError as error:  # also of psycopg without libpq
        raise MissingExtraError(needs="psycopg", extra="postgres") from error
    return PostgresStore(address)


def open_rates(home: Path, *, address: str | None = None) -> Rates:
    """Return where the budgets of calls are that go with the store at an address, or with the file under `home`."""
    if address is None:
        return HomeRates(home)
    try:
        from anytune.store.postgres_rates import PostgresRates
    except ImportError as error:
        raise MissingExtraError(needs="psycopg", extra="postgres") from error
    return PostgresRates(address)
