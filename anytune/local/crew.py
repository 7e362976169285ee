"""The processes that train one run together: started by the one that leads, and ended when one of them dies.

The leader holds the run's lock, tells the events and saves; the others compute. Who they are stands in the environment
of each (ANYTUNE_RANK, ANYTUNE_OF, ANYTUNE_PORT), how many there are to be in ANYTUNE_PROCESSES: a number, or `auto` for
one on each GPU. No torch is here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anytune.errors import AnytuneError, UsageError
from anytune.local.memory.shortage import ShortOfMemory
from anytune.local.parent import die_by_the_kernel
from anytune.local.processes import PROCESSES, worker_command, worker_environment
from anytune.local.runs import read_json, write_json

MOST = 64
PATIENCE = 3.0  # seconds for which the others may end by themselves
SETTLING = 0.3  # seconds for which others may die after the first
STUCK = 60.0  # seconds after a death in which the leader should have noticed
WHO = ("ANYTUNE_RANK", "ANYTUNE_OF", "ANYTUNE_PORT")


def wanted(environment: Mapping[str, str]) -> int:
    """Return how many processes are to train; raise `UsageError` for what is no number of them."""
    told = environment.get(PROCESSES, "1")
    if told == "auto":
        return max(1, len(gpus(environment)))
    if told.isdecimal() and 1 <= int(told) <= MOST:
        return int(told)
    raise UsageError(f"{PROCESSES} is {told!r}: it should be auto, or a number from 1 to {MOST}")


def gpus(environment: Mapping[str, str]) -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name each."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    return [str(n) for n, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]


def own_gpu(rank: int, size: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what lets a process see its own GPU alone; nothing where there are none."""
    found = gpus(environment)
    if not found:
        return {}
    if len(found) < size:
        raise UsageError(f"{size} processes are to train on {len(found)} GPUs: each needs its own")
    return {"CUDA_VISIBLE_DEVICES": found[rank]}


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
    die_by_the_kernel()
    if os.getppid() != leader:
        os._exit(1)
