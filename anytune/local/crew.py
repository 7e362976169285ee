"""The processes that train one run together: started by the one that leads, and ended when one of them dies.

The leader holds the run's lock, tells the events and saves; the others compute. Who they are stands in the environment
of each (ANYTUNE_RANK, ANYTUNE_OF, ANYTUNE_PORT). No torch is here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anytune.errors import AnytuneError
from anytune.local.memory.shortage import ShortOfMemory
from anytune.local.processes import worker_command, worker_environment
from anytune.local.runs import read_json, write_json
from anytune.local.spread import own_gpu

PATIENCE = 3.0  # seconds for which the others may end by themselves
SETTLING = 0.3  # seconds for which others may die after the first
STUCK = 60.0  # seconds after a death in which the leader should have noticed
WHO = ("ANYTUNE_RANK", "ANYTUNE_OF", "ANYTUNE_PORT")


class DeadProcess(AnytuneError):
    """Report that one of the processes of a run has died."""

    def __init__(self, message: str, *, fix: str | None, cause: str) -> None:
        super().__init__(message, fix=fix)
        self.cause = cause


def another_died(death: Mapping[str, Any]) -> Exception:
    """Return what the death of a process that trains along means for the run: memory ran out there, or it failed."""
    if "opening" in death:
        return ShortOfMemory(opening=death["opening"], tokens=death["tokens"])
    return DeadProcess(death["error"], fix=death.get("fix"), cause=death.get("cause", "provider"))


class Crew:
    """Hold the processes that follow the leader, which is this one."""

    def __init__(self, folder: Path, size: int, port: int, seen: Mapping[str, str]) -> None:
        self._folder, self._over = folder, threading.Event()
        self._processes = [self._start(rank, size, port, seen) for rank in range(1, size)]
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self, rank: int, size: int, port: int, seen: Mapping[str, str]) -> subprocess.Popen[bytes]:
        report(self._folder, rank).unlink(missing_ok=True)
        who = dict(zip(WHO, (str(rank), str(size), str(port)), strict=True))
        return subprocess.Popen(
            worker_command("follow", str(self._folder)),
            env={**worker_environment(alone=False), **who, **own_gpu(rank, size, seen)},
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
        )

    def _watch(self) -> None:
        """End the run if the leader goes on to wait for one that died, where nothing wakes it."""
        while not self._over.wait(1.0):
            if any(process.poll() for process in self._processes):
                if not self._over.wait(STUCK):
                    write_json(self._folder / "result.json", {"state": "failed", "cause": "provider", **self._death()})
                    self.end()
                    os._exit(1)
                return

    def cause(self) -> dict[str, Any] | None:
        """Return what a dead process left to say, None if none has died; a death just now is waited for."""
        end = time.monotonic() + PATIENCE
        while not any(process.poll() for process in self._processes):
            if time.monotonic() > end:
                return None
            time.sleep(0.05)
        time.sleep(SETTLING)
        return self._death()

    def _death(self) -> dict[str, Any]:
        """Return what the first to die left to say: those after it only tell that they lost it."""
        found = []
        for rank, process in enumerate(self._processes, 1):
            if status := process.poll():
                said = read_json(report(self._folder, rank)) or {"error": died(status)}
                told = {**said, "error": f"process {rank} of {len(self._processes) + 1}: {said['error']}"}
                found.append((status > 0, "opening" not in said, said.get("cause") != "user", rank, told))
        return min(found)[-1]

    def end(self) -> None:
        """End all who follow."""
        self._over.set()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def report(folder: Path, rank: int) -> Path:
    """Return where a process that follows writes why it ended badly."""
    return folder / f"rank-{rank}.json"


def died(status: int) -> str:
    """Say how a process ended that said nothing itself."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def die_with_the_leader(leader: int | None) -> None:
    """Have the kernel end this process when the leader does (Linux); it may be gone already."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != leader:
        os._exit(1)
