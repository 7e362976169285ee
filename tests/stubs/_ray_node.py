"""The stand-in's nodes: a job's entry point really started, where only its package lies."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any


class Nodes:
    """Start jobs' entry points for a stand-in, and tell it how they end."""

    def __init__(self, stub: Any, folder: Path) -> None:
        self._stub, self._folder = stub, folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        stub.runner, stub.stopper = self.start, self.stop

    def start(self, job: dict[str, Any]) -> None:
        """Unpack a job's package and run its entry point there."""
        id, environment = job["submission_id"], job["runtime_env"]
        place = self._folder / id
        code = self._stub.packages[environment["working_dir"].removeprefix("gcs://")]
        zipfile.ZipFile(io.BytesIO(code)).extractall(place / "code")
        bare = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), "OMP_NUM_THREADS": "1"}
        with (place / "output").open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", job["entrypoint"]],
                env={**bare, "HF_HUB_OFFLINE": "1", **environment["env_vars"]},
                cwd=place / "code",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes[id] = process
        self._stub.enter(id, "RUNNING")
        threading.Thread(target=self._watch, args=(id, process), daemon=True).start()

    def _watch(self, id: str, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._stub.lock:
            self._stub.logs[id] = self.output(id)
            if id in self._stopped:
                self._stub.enter(id, "STOPPED")
            elif status == 0:
                self._stub.enter(id, "SUCCEEDED")
            else:
                said = f"Job entrypoint command failed with exit code {status}, last available logs:\n"
                self._stub.enter(id, "FAILED", message=said + self.output(id))

    def stop(self, id: str) -> None:
        """Send SIGTERM to all that a job has started, as Ray does."""
        self._stopped.add(id)
        os.killpg(self.processes[id].pid, signal.SIGTERM)

    def found(self, pattern: str) -> Path | None:
        """Find a file that a job has made on its node."""
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
