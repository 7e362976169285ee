"""Worker processes: started detached, stopped by name, and only where their packages are installed."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from anytune.errors import MissingExtraError, UnavailableError
from anytune.local.runs import LOCK_FD, Run, is_held

NEEDS = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


def start_worker(run: Run, lock: int) -> None:
    """Start the detached worker; it inherits the held lock, so no moment lies between our hold and its own."""
    try:
        with (run.path / "log").open("ab") as log:
            subprocess.Popen(
                worker_command("run", str(run.path)),
                env={**worker_environment(), LOCK_FD: str(lock)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
                cwd=run.path,
            )
    except OSError as error:
        raise UnavailableError(f"the worker could not be started: {error}") from error
    finally:
        os.close(lock)


def worker_command(*arguments: str) -> list[str]:
    """Return the command line of a worker."""
    return [sys.executable, "-m", "anytune.local.worker", *arguments]


def worker_environment() -> dict[str, str]:
    """Return our environment, with our own package findable from any working directory."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def terminate(run: Run) -> None:
    """Send SIGTERM to the worker that holds the lock; one that has no pid yet will see the cancel mark."""
    pid = run.pid()
    if pid is not None and is_held(run.path):  # held: the pid is a living worker's, not a number used again
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return  # it ended between the two lines; the caller reads how


def demand_packages() -> None:
    """Refuse aloud when a package of the `local` extra is missing."""
    for package in NEEDS:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(needs=package, extra="local")
