"""Worker processes: started detached or asked for one answer, stopped by name, where their packages are installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytune.errors import MissingExtraError, ProviderError, UnavailableError
from anytune.local.confine import confined
from anytune.local.parent import answered
from anytune.local.runs import LOCK_FD, Run, is_held
from anytune.local.spread import PROCESSES, machines, require_named, told

SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PGPASSWORD|CREDENTIALS?)$", re.IGNORECASE)  # of names
ALONE = told(1, "auto")
NEEDS = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")


def start_worker(run: Run, lock: int, *, parted: Mapping[str, str] = ALONE) -> None:
    """Start the detached worker; it inherits the held lock, so no moment lies between our hold and its own.

    It starts those that train with it as `parted` says (`spread.py`). One that has nothing to fetch, and no other
    machine to meet, is started where there is no network. Raises `RefusedError` where data would leave this machine
    that may not.
    """
    command, alone = worker_command("run", str(run.path)), bool(run.request().get("offline", True))
    try:
        require_named({**os.environ, **parted}, run.request())
        with (run.path / "log").open("ab") as log:
            subprocess.Popen(
                confined(command, loopback=parted[PROCESSES] != "1")
                if alone and machines(os.environ) == 1
                else command,
                env={**worker_environment(alone=alone), LOCK_FD: str(lock), **parted},
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


def worker_answer(*arguments: str) -> dict[str, Any]:
    """Run one verb of a worker to its end and return the JSON document that it printed."""
    done = answered(confined(worker_command(*arguments)), worker_environment())
    try:
        return dict(json.loads(done.stdout))
    except ValueError as error:
        lines = done.stderr.strip().splitlines() or [f"it left no message, only status {done.returncode}"]
        raise ProviderError(f"the worker process ended: {lines[-1]}") from error


def worker_command(*arguments: str) -> list[str]:
    """Return the command line of a worker.

    -P keeps Python from looking for modules where the user stands: a torch.py in a stranger's checkout would be run.
    """
    return [sys.executable, "-P", "-m", "anytune.local.worker", *arguments]


def worker_environment(*, alone: bool = True) -> dict[str, str]:
    """Return our environment, with our own package findable from any working directory.

    A worker that is to stay `alone` has nobody to show a key to, and gets none: what is in the environment of a
    process that runs for hours is in the list of processes, too.
    """
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    kept = {name: value for name, value in os.environ.items() if not (alone and SECRET.search(name))}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def terminate(run: Run) -> None:
    """Send SIGTERM to the worker that holds the lock; one that has no pid yet will see the cancel mark."""
    pid = run.pid()
    if pid is not None and is_held(run.path):  # held: the pid is a living worker's, not a number used again
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return  # it ended between the two lines; the caller reads how


def demand_packages(needs: Sequence[str] = ()) -> None:
    """Refuse aloud when a package of the `local` extra is missing; all are needed, or only those named."""
    for package in needs or NEEDS:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(needs=package, extra="local")
