"""A PostgreSQL server of the test's own: the programs of the system's package, on a socket in a folder."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

LACKING = "PostgreSQL is not tested: apt-get install postgresql (its programs are looked for in /usr/lib/postgresql)"
TRUST = "local all guarded scram-sha-256\nlocal all all trust\n"
QUICK = "-c fsync=off -c listen_addresses='' -c max_connections=60 -c log_min_messages=fatal"


def programs() -> Path | None:
    """Return the folder of the newest server's programs, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


class Server:
    """Be a server that runs, and can be stopped and started."""

    def __init__(self, folder: Path, bin_folder: Path, account: str | None) -> None:
        self.folder, self._bin, self._account = folder, bin_folder, account
        self._names = itertools.count(1)
        self._call("initdb", "-D", "data", "-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync")
        (folder / "data" / "pg_hba.conf").write_text(TRUST)
        self.start()

    def start(self) -> None:
        """Let it run until it takes calls."""
        self._call("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", f"{QUICK} -k {self.folder}", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it; `immediate` leaves its clients without a word, as a crash does."""
        self._call("pg_ctl", "-D", "data", "-m", how, "-w", "stop")

    def kill(self) -> None:
        """Kill it with -9, and those of its children that a crash would take along."""
        leader = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(leader)], capture_output=True, text=True, check=False)
        for process in (leader, *map(int, children.stdout.split())):
            os.kill(process, signal.SIGKILL)

    def database(self) -> str:
        """Make an empty database and return its name."""
        name = f"db{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} STRATEGY = file_copy" if self._version >= 15 else f"CREATE DATABASE {name}")
        return name

    def address(self, database: str, *, user: str = "owner") -> str:
        """Return how a database is reached."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the server's owner."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as db:
            for statement in statements:
                db.execute(statement.encode())

    @property
    def _version(self) -> int:
        return int(self._bin.parts[-2]) if self._bin.parts[-2].isdigit() else 0

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        with (self.folder / "said").open("w+") as said:  # a pipe would stay open as long as the server runs
            done = subprocess.run(
                command, cwd=self.folder, user=self._account, stdout=said, stderr=said, stdin=subprocess.DEVNULL
            )
            if done.returncode != 0:
                raise RuntimeError(f"{program}: {(self.folder / 'said').read_text()}")


@contextmanager
def served() -> Iterator[Server]:
    """Run a server for a while, as an unprivileged user where we are root; skip the test where there is no package."""
    pytest.importorskip("psycopg", reason="PostgreSQL is not tested: pip install 'anytune[postgres]'")
    found = programs()
    if found is None:
        pytest.skip(LACKING)
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="anytune-pg-", dir="/tmp"))  # a socket's path may have 107 bytes
    if account is not None:
        shutil.chown(folder, account)
    try:
        server = Server(folder, found, account)
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> str | None:
    """Return whom the server runs as where we are root, which it refuses: the package's own user, or nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
