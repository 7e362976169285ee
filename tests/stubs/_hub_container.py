"""The stand-in's machines: a job's command really started, as a process that has only what it is sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any


class Machines:
    """Start jobs' commands for a stand-in, and tell it how they end."""

    def __init__(self, stub: Any, folder: Path) -> None:
        self._stub, self._folder = stub, folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        stub.runner, stub.stopper = self.start, self.stop

    def start(self, job: dict[str, Any]) -> None:
        """Start a job's command; what uv would put in is here already."""
        command = job["command"]
        assert command[:3] == ["uv", "run", "--no-project"]
        place = self._folder / job["id"]
        place.mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "TMPDIR": str(place),
            "OMP_NUM_THREADS": "1",
            **job["environment"],
            **self._stub.secrets[job["id"]],
        }
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command[command.index("python") + 1 :]],
                env=environment,
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes[job["id"]] = process
        self._stub.enter(job["id"], "RUNNING")
        threading.Thread(target=self._watch, args=(job["id"], process), daemon=True).start()

    def _watch(self, id: str, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._stub.lock:
            if self._stub.jobs[id]["status"]["stage"] == "RUNNING":
                said = None if status == 0 else f"exit status {status}"
                self._stub.enter(id, "COMPLETED" if status == 0 else "ERROR", message=said)

    def stop(self, id: str) -> None:
        """End a job as its cancel does."""
        self.processes[id].terminate()

    def found(self, pattern: str) -> Path | None:
        """Find a file that a job has made on its machine."""
        with suppress(FileNotFoundError):  # a folder took another name while it was looked through
            return next(iter(self._folder.rglob(pattern)), None)
        return None

    def output(self, id: str) -> str:
        """Return what a job printed."""
        return (self._folder / id / "output").read_text(errors="replace")

    def end(self) -> None:
        """Leave nothing running."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
