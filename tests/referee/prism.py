"""Run Prism between a client and a stand-in, and read from its log what it finds."""

from __future__ import annotations

import ctypes
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START = 600.0  # seconds: most of half a minute where nothing else runs
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
READY = "Prism is listening"


@dataclass(frozen=True)
class Prism:
    """Be one Prism that is running."""

    origin: str
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[str]:
        """Read the log so far, without its colours."""
        return COLOUR.sub("", self.log.read_text(encoding="utf-8", errors="replace")).splitlines()

    def megabytes(self) -> int:
        """Tell the most memory that it has held, 0 where the system does not say."""
        with suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) // 1024
        return 0


def proxy(prism: Path, description: Path, upstream: str) -> AbstractContextManager[Prism]:
    """Put Prism before a stand-in while inside `with`.

    Not with --errors, which would end each job at the first violation: all of them are told in one run.
    """
    return _running(prism, description, "proxy", str(description), upstream)


def mock(prism: Path, description: Path) -> AbstractContextManager[Prism]:
    """Let Prism answer by itself, with the description's own examples; what is against the description it refuses."""
    return _running(prism, description, "mock", str(description), "--errors")


@contextmanager
def _running(prism: Path, description: Path, *arguments: str) -> Iterator[Prism]:
    port = _free_port()
    log = description.with_suffix(".log")
    command = [str(prism), *arguments, "--port", str(port), "--host", "127.0.0.1"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=end_with_us
        )
    try:
        started = Prism(f"http://127.0.0.1:{port}", process, log)
        _wait_for(started)
        yield started
    finally:
        process.kill()
        process.wait()


def end_with_us() -> None:
    """Ask Linux to end this process when the one that started it is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _wait_for(started: Prism) -> None:
    deadline = time.monotonic() + START
    while not any(READY in line for line in started.lines()):
        if started.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("referee: Prism did not start:\n" + "\n".join(started.lines()[-20:]))
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
