"""How libpq reads an address and opens sessions, its locks, and what it says that went wrong: never a password."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import conninfo

from anytune.errors import StoreError
from anytune.store import mend

CONNECT_SECONDS = 10
ALIVE = {  # seconds, seconds, tries; milliseconds, as long as all of these, for what was sent and never taken
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def parts(address: str) -> dict[str, Any]:
    """Read the address as libpq does, its defaults from the environment included; refuse one that holds a password."""
    try:
        given = conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:  # whose message shows the address
        raise StoreError("`store` is no address that libpq can read", fix="store: postgresql://user@host/db") from None
    if given.keys() & {"password", "sslpassword"}:
        raise StoreError("`store` holds a password", fix=mend.POSTGRES["28P01"])
    known = {option.keyword.decode(): option for option in psycopg.pq.Conninfo.get_defaults()}
    defaults = {
        name: known[name].val.decode()  # type: ignore[union-attr]
        for name in ("user", "host", "port", "dbname")
        if name in known and known[name].val
    }
    return {**{name: value for name, value in defaults.items() if name != "port"}, **given}


def said(error: psycopg.Error) -> str:
    """Return the one line of what the server or libpq said that tells most."""
    if error.diag.message_primary:
        return error.diag.message_primary
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (telling or lines or [type(error).__name__])[-1].rpartition("FATAL:")[2].strip()


def connected(address: str, parts: Mapping[str, Any], *, schema: str, busy_seconds: float) -> psycopg.Connection:
    """Open a session in a schema; what it commits is on the disk, and a lock is waited for so long and no longer."""
    given = {"connect_timeout": CONNECT_SECONDS, **ALIVE, "fallback_application_name": "anytune"}
    missing: dict[str, Any] = {name: value for name, value in given.items() if name not in parts}
    db = psycopg.connect(address, autocommit=True, **missing)
    db.execute(
        "SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false), "
        "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
        "ELSE current_setting('synchronous_commit') END, false)",
        (schema, f"{busy_seconds * 1000:.0f}ms"),
    )
    return db


def alone(db: psycopg.Connection, what: str) -> None:
    """Be the only writer of something until the transaction ends."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (key(what),))


def key(what: str) -> int:
    """Return the number that the server locks by: its locks are the whole database's, so ours are marked."""
    return int.from_bytes(hashlib.blake2b(f"anytune: {what}".encode(), digest_size=8).digest(), "big", signed=True)
