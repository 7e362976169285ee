"""A stateful stand-in of a Ray cluster's dashboard on loopback: packages, and jobs by the Jobs interface of Ray 2.60.

    with RayStub(depot=folder) as stub:
        profile = Profile(name="ray", home=..., key=lambda: stub.key, base_url=stub.base_url, cluster=...)

What can be set before or between calls:

- `life`: the words that a job goes through; each look at it moves it one on (any word is allowed)
- `depot`: the folder that the cluster shares with its user, into which `finish` puts what the trainer would
- `authorised`: whether a token is wanted, as RAY_AUTH_MODE=token has it
- `runner`, `stopper`: called with each new job's record, where its command is to be really started, and stopped
- `finish(id)` ends a job well at once; `enter(id, word)` moves it; `forget()` is what a new head does
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.stubs._call import Refuse
from tests.stubs._http import Call, Reply, StubServer
from tests.stubs._process import main

STUB_KEY = "ray-stub-0123456789abcdef"
LIFE = ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED")
ENDED = {"STOPPED", "SUCCEEDED", "FAILED"}
START = 1_790_000_000_000
SUBMIT = {
    **{"entrypoint": str, "submission_id": str, "metadata": dict, "runtime_env": dict},
    **{"entrypoint_num_gpus": (int, float), "entrypoint_num_cpus": (int, float), "entrypoint_resources": dict},
}
ENVIRONMENT = {"working_dir", "env_vars", "py_modules", "pip", "uv", "excludes"}
LARGEST = 100 << 20
WEIGHTS = {
    "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
    "adapter_model.safetensors": bytes(range(256)) * 64,
}
TRACE = 'Traceback (most recent call last):\n  File "job_manager.py", line 554, in submit_job\nValueError: {}'


class RayStub(StubServer):
    """Stand in for http://127.0.0.1:8265 on a cluster's head."""

    def __init__(self, *, key: str = STUB_KEY, depot: Path | None = None, journal_file: Path | None = None) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.life: tuple[str, ...] = LIFE
        self.depot: Path | str | None = depot
        self.authorised = True
        self.runner: Callable[[dict[str, Any]], None] | None = None
        self.stopper: Callable[[str], None] | None = None
        self.packages: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._ticks = START

    def census(self) -> dict[str, Any]:
        return {"jobs": list(self.jobs.values()), "files": sorted(self.packages)}

    def enter(self, id: str, word: str, *, message: str | None = None) -> None:
        """Move a job to a status."""
        with self.lock:
            job = self.jobs[id]
            job |= {"status": word, "message": message}
            if word in ENDED:
                job["end_time"] = self._tick()

    def leave(self, job_id: str, files: dict[str, bytes]) -> None:
        """Put files into a job's folder of the depot, as the trainer does."""
        assert self.depot is not None
        for name, content in files.items():
            path = Path(self.depot) / "jobs" / job_id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def finish(self, id: str) -> None:
        """Let a job end well, now."""
        with self.lock:
            job_id = self.jobs[id]["metadata"]["anytune_job"]
            events = [
                {"id": f"event-{n:07d}", "at": f"2026-11-28T00:00:0{n}Z", "level": "info", "message": said, "data": {}}
                for n, said in enumerate(("the worker has started", "succeeded"), 1)
            ]
            if self.depot is not None:
                self.leave(job_id, {
                    "events.jsonl": "".join(json.dumps(event) + "\n" for event in events).encode(),
                    **{f"model/{name}": content for name, content in WEIGHTS.items()},
                    "result.json": json.dumps({"state": "succeeded", "trained_tokens": 120}).encode(),
                })  # fmt: skip
            self.enter(id, "SUCCEEDED")

    def forget(self) -> None:
        """Know no job and no package any more, as a head that was started anew."""
        with self.lock:
            self.jobs.clear()
            self.packages.clear()

    def told(self, job_id: str) -> int:
        """Count the events that a job has left."""
        path = Path(self.depot or "/nowhere") / "jobs" / job_id / "events.jsonl"
        return len(path.read_bytes().splitlines()) if path.exists() else 0

    def answer(self, call: Call) -> Reply:
        given = call.headers.get("authorization", "")
        if self.authorised and given != f"Bearer {self.key}":
            # nastier than the real one: it repeats the token
            raise text(403 if given else 401, f"Forbidden: Invalid authentication token {given}")
        match call.method, call.path.strip("/").split("/"):
            case "GET", ["api", "packages", "gcs", name]:
                if name not in self.packages:
                    raise text(404, f"Package gcs://{name} does not exist")
                return Reply(200, b"")
            case "PUT", ["api", "packages", "gcs", name]:
                return self._keep(name, call.body)
            case "POST", ["api", "jobs"] if call.path.endswith("/"):
                return self._submit(call.json)
            case "GET", ["api", "jobs"] if call.path.endswith("/"):
                return Reply(200, [*self.jobs.values(), {"type": "DRIVER", "submission_id": None, "status": "RUNNING"}])
            case "GET", ["api", "jobs", id]:
                return self._look(self._job(id))
            case "POST", ["api", "jobs", id, "stop"]:
                return self._stop(self._job(id))
            case "GET", ["api", "jobs", id, "logs"]:
                return Reply(200, {"logs": self.logs.get(self._job(id)["submission_id"], "")})
        raise text(404, "404: Not Found")

    def _keep(self, name: str, content: bytes) -> Reply:
        if len(content) > LARGEST or not name.startswith("_ray_pkg_") or not name.endswith(".zip"):
            raise text(413 if len(content) > LARGEST else 500, TRACE.format("bad package"))
        if zipfile.ZipFile(io.BytesIO(content)).testzip() is not None:
            raise text(500, TRACE.format("not a zip file"))
        self.packages[name] = content
        return Reply(200, b"")

    def _submit(self, body: Any) -> Reply:
        unknown = sorted(set(body) - set(SUBMIT)) if isinstance(body, dict) else ["body"]
        if unknown or "entrypoint" not in body:
            raise text(400, TRACE.format(f"unexpected keyword argument {unknown}"))
        wrong = [name for name, value in body.items() if not isinstance(value, SUBMIT[name])]
        environment = body.get("runtime_env", {})
        wrong += sorted(set(environment) - ENVIRONMENT)
        texts = [*body.get("metadata", {}).values(), *environment.get("env_vars", {}).values()]
        if wrong or not all(isinstance(value, str) for value in texts):
            raise text(400, TRACE.format(f"invalid: {wrong}"))
        id = body["submission_id"]
        if id in self.jobs:
            said = f"Job with submission_id {id} already exists. Please use a different submission_id."
            raise text(500, TRACE.format(said))
        code = environment.get("working_dir", "").removeprefix("gcs://")
        job = {
            **body,
            "type": "SUBMISSION",
            "job_id": None,
            "status": self.life[0],
            "message": None,
            "start_time": self._tick(),
            "end_time": None,
        }
        self.jobs[id], self._steps[id] = job, 0
        if code not in self.packages:
            self.enter(id, "FAILED", message=f"runtime_env setup failed: Failed to download package gcs://{code}")
        elif self.runner is not None:
            self.runner(job)
        return Reply(200, {"job_id": id, "submission_id": id})

    def _job(self, id: str) -> dict[str, Any]:
        if id not in self.jobs:
            raise text(404, f"Job {id} does not exist")
        return self.jobs[id]

    def _look(self, job: dict[str, Any]) -> Reply:
        id = job["submission_id"]
        step = self._steps[id]
        if job["status"] not in ENDED and self.runner is None and step + 1 < len(self.life):
            self._steps[id] += 1
            word = self.life[step + 1]
            self.finish(id) if word == "SUCCEEDED" else self.enter(id, word)
        return Reply(200, job)

    def _stop(self, job: dict[str, Any]) -> Reply:
        stopped = job["status"] not in ENDED
        if stopped and self.stopper is not None:
            self.stopper(job["submission_id"])
        elif stopped:
            self.enter(job["submission_id"], "STOPPED")
        return Reply(200, {"stopped": stopped})

    def _tick(self) -> int:
        self._ticks += 1000
        return self._ticks


def text(status: int, said: str) -> Refuse:
    return Refuse(Reply(status, said.encode(), {"Content-Type": "text/plain; charset=utf-8"}))


if __name__ == "__main__":
    main(lambda journal: RayStub(journal_file=journal))
