"""Keep every test on this machine, each in a home of its own, and import no file whose tests another ring runs."""

from __future__ import annotations

import gc
import ipaddress
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from itertools import chain, combinations, count
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import settings

from anytune.store.sqlite import SqliteStore
from tests.amount import examples
from tests.postgres import LACKING, Server, served

OF_A_RING = re.compile(r"mark\.(engine|live|local|long|ray)\b")
OF_ALL = re.compile(r"^pytestmark = (?:[^\n\[]*|\[[^\]]*\])$", re.MULTILINE)
settings.register_profile("anytune", max_examples=examples(100))
settings.load_profile("anytune")
MEMORY, ROOM = Path("/dev/shm"), 2 << 30
NUMBERS = count()
OPENED = SqliteStore._opened


def pytest_configure() -> None:
    """Keep the tests' files in memory where there is room and programs may be run: the disk is slow to rename."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if shutil.disk_usage(MEMORY).free >= ROOM and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file of tests none of which the ring picks: those that need torch take seconds to import."""
    if not config.option.markexpr or not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    always = {mark for line in OF_ALL.findall(text) for mark in OF_A_RING.findall(line)}
    at_times = set(OF_A_RING.findall(text)) - always
    picks = Expression.compile(config.option.markexpr).evaluate
    some = chain.from_iterable(combinations(at_times, number) for number in range(len(at_times) + 1))
    return None if any(picks(always.union(marks).__contains__) for marks in some) else True


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests: it would walk them all at each full round."""
    gc.freeze()


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to connect to anything but 127.0.0.0/8, ::1 and local sockets."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = str(address[0])
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                raise AssertionError(f"a test reached for {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write without waiting until it is on the disk: nothing in this process is to outlive a loss of power."""

    def opened(self: SqliteStore, path: Path) -> sqlite3.Connection:
        db = OPENED(self, path)
        db.execute("PRAGMA synchronous = OFF")
        return db

    monkeypatch.setattr(SqliteStore, "_opened", opened)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the folders of all tests are."""
    return tmp_path_factory.mktemp("folders")


@pytest.fixture
def tmp_path(folders: Path) -> Path:
    """Make a folder for one test: pytest's own way takes milliseconds, for a link to the newest of each name."""
    path = folders / str(next(NUMBERS))
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(autouse=True)
def own_home(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a home, and none of the user's keys or settings."""
    home = folders / f"{next(NUMBERS)}-home"
    home.mkdir()
    monkeypatch.setenv("ANYTUNE_HOME", str(home / "anytune"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("OPENAI_API_KEY", "TOGETHER_API_KEY", "OPENAI_BASE_URL", "TOGETHER_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run a PostgreSQL server of our own, if the system has one."""
    with served() as running:
        yield running


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say aloud what the lack of a package left untested."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = [report for report in skipped if "PostgreSQL is not tested" in str(report.longrepr)]
    if left_out:
        terminalreporter.write_line(f"{len(left_out)} tests left out: {LACKING}", yellow=True)
