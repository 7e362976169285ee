"""The budgets of calls in a PostgreSQL database: for all machines that share its record, by the server's clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from anytune.store import libpq
from anytune.store.rates import Slip
from anytune.store.session import Session

# After it the server takes back what was lent to a machine that fell asleep: well within the wait for a lock.
LONGEST = "2s"
LENT = (
    "SELECT set_config('synchronous_commit', 'off', true), "
    "set_config('idle_in_transaction_session_timeout', %s, true), pg_advisory_xact_lock(%s)"
)


class PostgresRates:
    """Keep slips as rows; the session is opened when the first is wanted, and threads use it one at a time.

    Nothing waits for the server's disk: where it crashes, a budget is that of a moment before.
    """

    def __init__(self, address: str) -> None:
        """Name the database; nothing is opened."""
        self._address, self._alone = address, Lock()
        self._opened: Session | None = None

    @contextmanager
    def lent(self, name: str) -> Iterator[Slip]:
        """Lend a row under a lock that ends with the transaction, and so with the process."""
        with self._alone:
            session = self._session()
            with session.told():
                db = session.alive()
                with db.transaction():
                    db.execute(LENT, (LONGEST, libpq.key(f"rate {name}")))
                    now = db.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
                    found = db.execute("SELECT body FROM rates WHERE name = %s", (name,)).fetchone()
                    slip = Slip(found[0] if found else "", now=float(now[0]) if now else None)
                    before = slip.text
                    yield slip
                    if slip.text != before:
                        db.execute(
                            "INSERT INTO rates (name, body) VALUES (%s, %s) "
                            "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                            (name, slip.text),
                        )

    def seen(self, name: str) -> str:
        """Return what stands in the row."""
        with self._alone:
            found = self._session().read("SELECT body FROM rates WHERE name = %s", (name,))
        return str(found[0][0]) if found else ""

    def _session(self) -> Session:
        self._opened = self._opened or Session(self._address)
        return self._opened
