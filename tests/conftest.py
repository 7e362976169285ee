"""Keep every test on this machine: a connection beyond loopback fails it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.postgres import LACKING, Server, served


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
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a home, and none of the user's keys or settings."""
    home = tmp_path_factory.mktemp("home")
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
