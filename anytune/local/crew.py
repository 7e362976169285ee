"""The processes that train one run together: started by the one that leads, and ended when one of them dies.

The leader holds the run's lock, tells the events and saves; the others compute. Who they are stands in the environment
of each (`WHO`). Those on another machine are started and watched there (`join.py`), and are heard of from there
(`muster.py`). No torch is here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune.errors import AnytuneError
from anytune.local.memory.shortage import ShortOfMemory
from anytune.local.muster import Away
from anytune.local.parent import die_by_the_kernel
from anytune.local.processes import worker_command, worker_environment
from anytune.local.runs import read_json, write_json
from anytune.local.spread import own_gpu

PATIENCE = 3.0  # seconds for which the others may end by themselves
SETTLING = 0.3  # seconds for which others may die after the first
STUCK = 60.0  # seconds after a death in which the leader should have noticed
WHO = ("ANYTUNE_RANK", "ANYTUNE_OF", "ANYTUNE_BESIDE", "ANYTUNE_HOST", "ANYTUNE_PORT")
PARENT, REPORTS, INTERFACE = "ANYTUNE_PARENT", "ANYTUNE_REPORTS", "ANYTUNE_INTERFACE"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Be where processes of a run stand: the first of this machine, how many it has, and how many there are in all.

    They meet at `host` and `port`, through this machine's network `interface`.
    """

    first: int
    beside: int
    size: int
    host: str = LOOPBACK
    port: int = 0
    interface: str = "lo"

    def who(self, rank: int, reports: Path) -> dict[str, str]:
        """Return what tells a process who it is."""
        told = (rank, self.size, self.beside, self.host, self.port)
        who = dict(zip(WHO, map(str, told), strict=True))
        return {**who, PARENT: str(os.getpid()), REPORTS: str(reports), INTERFACE: self.interface}


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
    """Hold the processes that follow on this machine; on the one that leads, the lines to the `others`, too."""

    def __init__(
        self, folder: Path, place: Place, seen: Mapping[str, str], *, reports: Path, others: Sequence[Away] = ()
    ) -> None:
        self._folder, self._place, self._reports, self._others = folder, place, reports, others
        self._over = threading.Event()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for at in range(place.beside):
            if place.first + at:  # the first of all is the leader itself
                self._processes[place.first + at] = self._start(place.first + at, at, seen)

    def _start(self, rank: int, at: int, seen: Mapping[str, str]) -> subprocess.Popen[bytes]:
        report(self._reports, rank).unlink(missing_ok=True)
        who = {**self._place.who(rank, self._reports), **own_gpu(at, self._place.beside, seen)}
        return subprocess.Popen(
            worker_command("follow", str(self._folder)),
            env={**worker_environment(alone=False), **who},
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
        )

    def watch(self) -> None:
        """End the run if the leader goes on to wait for one that died, where nothing wakes it."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            if self.death() is not None:
                if not self._over.wait(STUCK) and (death := self.death()) is not None:
                    if "gone" not in death:  # else the run is as one whose own machine went away
                        write_json(self._folder / "result.json", {"state": "failed", "cause": "provider", **death})
                    self.end()
                    os._exit(1)
                return

    def cause(self) -> dict[str, Any] | None:
        """Return what a dead process left to say, None if none has died; a death just now is waited for."""
        end = time.monotonic() + PATIENCE
        while self.death() is None:
            if time.monotonic() > end:
                return None
            time.sleep(0.05)
        time.sleep(SETTLING)
        return self.death()

    def death(self) -> dict[str, Any] | None:
        """Return what the first to die left to say: those after it only tell that they lost it."""
        found = []
        for rank, process in self._processes.items():
            if status := process.poll():
                said = read_json(report(self._reports, rank)) or {"error": died(status)}
                error = f"process {rank} of {self._place.size}: {said['error']}"
                found.append({**said, "error": error, "status": status})
        found += [death for away in self._others if (death := away.death()) is not None]
        return min(found, key=_lateness, default=None)

    @property
    def done(self) -> bool:
        """Tell whether all who follow have ended well."""
        return all(process.poll() == 0 for process in self._processes.values())

    def terminate(self) -> None:
        """Ask all who follow to stop."""
        for process in self._processes.values():
            process.terminate()

    def end(self) -> None:
        """End all who follow."""
        self._over.set()
        self.terminate()
        for process in self._processes.values():
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _lateness(death: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Order deaths by how surely they were the first: killed, out of memory, by the user's fault."""
    return death["status"] > 0, "opening" not in death, death.get("cause") != "user"


def report(folder: Path, rank: int) -> Path:
    """Return where a process that follows writes why it ended badly."""
    return folder / f"rank-{rank}.json"


def died(status: int) -> str:
    """Say how a process ended that said nothing itself."""
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def die_with_the_parent() -> None:
    """Have the kernel end this process when the one that started it does (Linux); it may be gone already."""
    die_by_the_kernel()
    if os.getppid() != int(os.environ[PARENT]):
        os._exit(1)
