"""A stateful stand-in of the Hugging Face Hub on loopback: dataset repositories, their large storage, and jobs.

    with HubStub() as stub:
        profile = Profile(name="hf-jobs", home=..., key=lambda: stub.key, base_url=stub.base_url)

What can be set before or between calls:

- `life`: the stages that a job goes through; each look at it moves it one on (any word is allowed)
- `namespace`: who the key's owner is
- `large_from`: from how many bytes a file goes to the large storage (safetensors and zip always do)
- `storage`, `verifier`: the origins of signed addresses, and of the check after an upload, when not this server
- `prices`: what each machine costs, in millionths of a dollar a minute
- `runner`: called with each new job's record, where its command is to be really started
- `models`: folders by the Hub ids under which they can be read
- `finish(id)` completes a job at once and leaves what the trainer would; `set(id, ...)` changes fields of a job;
  `leave(job_id, files)` puts files of the trainer's into the repository
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.stubs import _hub_model as model
from tests.stubs import _hub_rules as rules
from tests.stubs._http import Call, Reply, StubServer
from tests.stubs._hub_repository import CACHED, STORAGE, Repository, Shelf, ranged
from tests.stubs._hub_rules import iso
from tests.stubs._process import main

STUB_KEY = "hf_stubstubstubstubstubstub"
NAMESPACE = "stub-user"
REPOSITORY = f"{NAMESPACE}/anytune-jobs"
LIFE = ("SCHEDULING", "RUNNING", "RUNNING", "COMPLETED")
ENDED = {"COMPLETED", "CANCELED", "ERROR", "DELETED"}
START = 1_790_000_000
PAGE = 2
WEIGHTS = {
    "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
    "adapter_model.safetensors": bytes(range(256)) * 1024,
}


class HubStub(StubServer):
    """Stand in for https://huggingface.co."""

    def __init__(self, *, key: str = STUB_KEY, journal_file: Path | None = None) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.life: tuple[str, ...] = LIFE
        self.namespace = NAMESPACE
        self.large_from = 10_000_000
        self.storage = ""
        self.verifier = ""
        self.weights: dict[str, bytes] = dict(WEIGHTS)
        self.prices = dict(rules.PRICES)
        self.models: dict[str, Path] = {}
        self.runner: Callable[[dict[str, Any]], None] | None = None
        self.stopper: Callable[[str], None] | None = None
        self.shelf = Shelf(self)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self._steps: dict[str, int] = {}
        self._ticks = START

    @property
    def warehouse(self) -> str:
        """Return the storage's origin: another than the Hub's, as it really is."""
        return self.storage or f"http://localhost:{self.port}"

    def set(self, id: str, **fields: Any) -> None:
        """Change fields of a job by hand."""
        with self.lock:
            self.jobs[id].update(fields)

    def enter(self, id: str, stage: str, *, message: str | None = None) -> None:
        """Move a job to a stage."""
        with self.lock:
            job = self.jobs[id]
            job["status"] = {"stage": stage, "message": message}
            if stage == "RUNNING" and "startedAt" not in job:
                job["startedAt"] = iso(self._tick())
            if stage in ENDED:
                job |= {"finishedAt": iso(self._tick()), "durations": {"runningSecs": 90, "totalSecs": 100}}

    def leave(self, job_id: str, files: dict[str, bytes]) -> None:
        """Put files into a job's folder, as the trainer does."""
        with self.lock:
            found = self.shelf.repositories.setdefault(REPOSITORY, Repository(REPOSITORY, private=True))
            for name, content in files.items():
                path = f"jobs/{job_id}/{name}"
                found.files[path] = content
                if path.endswith(".safetensors"):
                    found.large.add(path)
                    self.shelf.storage[hashlib.sha256(content).hexdigest()] = content

    def finish(self, id: str) -> None:
        """Let a job end well, now."""
        with self.lock:
            job_id = json.loads(self.jobs[id]["environment"]["ANYTUNE_RUN"])["job_id"]
            result = {"state": "succeeded", "trained_tokens": 120}
            events = [
                {"id": f"event-{n:07d}", "at": iso(START + n), "level": "info", "message": said, "data": {}}
                for n, said in enumerate(("the worker has started", "succeeded"), 1)
            ]
            self.leave(job_id, {
                "result.json": json.dumps(result).encode(),
                "events.jsonl": "".join(json.dumps(event) + "\n" for event in events).encode(),
                **{f"model/{name}": content for name, content in self.weights.items()},
            })  # fmt: skip
            self.enter(id, "COMPLETED")

    def told(self, job_id: str) -> int:
        """Count the events that a job has left."""
        found = self.shelf.repositories.get(REPOSITORY)
        return len(found.files.get(f"jobs/{job_id}/events.jsonl", b"").splitlines()) if found else 0

    def answer(self, call: Call) -> Reply:
        if call.path.startswith(STORAGE):
            return self.shelf.store(call)
        if call.headers.get("authorization") != f"Bearer {self.key}":
            # nastier than the real one: it repeats the key
            given = call.headers.get("authorization", "").removeprefix("Bearer ")
            raise rules.refusal(401, f"Invalid credentials in Authorization header: {given}")
        if call.path.startswith(CACHED):
            owner, name, path = call.path.removeprefix(CACHED).split("/", 2)
            return ranged(self.shelf.repository(f"{owner}/{name}").files[path], call)
        match call.method, call.path.strip("/").split("/"):
            case "GET", ["api", "whoami-v2"]:
                return Reply(200, {"type": "user", "name": self.namespace, "orgs": []})
            case "POST", ["api", "repos", "create"]:
                return self.shelf.create(call.json)
            case "POST", ["api", "datasets" | "models", _, _, "lfs", "verify"]:
                return self.shelf.verify(call.json)
            case method, ["api", "models", owner, name, *verb] if f"{owner}/{name}" not in self.models:
                return self.shelf.answer(method, f"models/{owner}/{name}", verb, call)
            case "POST", [owner, name, "info", "lfs", "objects", "batch"]:
                return self.shelf.batch(f"models/{owner}/{name.removesuffix('.git')}", call.json)
            case method, ["api", "datasets", owner, name, *verb]:
                return self.shelf.answer(method, f"{owner}/{name}", verb, call)
            case "POST", ["datasets", owner, name, "info", "lfs", "objects", "batch"]:
                return self.shelf.batch(f"{owner}/{name.removesuffix('.git')}", call.json)
            case (("GET" | "HEAD"), ["datasets", owner, name, "resolve", "main", *path]):
                return self.shelf.resolve(f"{owner}/{name}", "/".join(path))
            case "GET", ["api", "jobs", "hardware"]:
                return Reply(200, [rules.machine(name, micro) for name, micro in self.prices.items()])
            case method, ["api", "jobs", namespace, *rest] if namespace == self.namespace:
                return self._jobs(method, rest, call)
            case method, parts if (found := model.folder_of(self.models, parts)) is not None:
                return model.answer(method, *found)
        raise rules.refusal(404, f"no such endpoint: {call.route}")

    def _jobs(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "POST", []:
                return self._create(call.json)
            case "GET", []:
                return self._list(call)
            case "GET", [id]:
                return self._look(self._job(id))
            case "POST", [id, "cancel"]:
                return self._stop(self._job(id))
        raise rules.refusal(404, f"no such endpoint: {call.route}")

    def _create(self, body: Any) -> Reply:
        wanted = rules.checked(body, rules.JOB, required=tuple(rules.JOB))
        id = f"{len(self.journal):024x}"
        secrets = wanted.pop("secrets")
        self.jobs[id] = {
            **wanted,
            "id": id,
            "createdAt": iso(self._tick()),
            "secrets": dict.fromkeys(secrets, ""),
            "status": {"stage": self.life[0], "message": None},
            "owner": {"id": "1", "name": self.namespace, "type": "user"},
            "durations": {"runningSecs": None, "totalSecs": 0},
        }
        self.secrets[id], self._steps[id] = secrets, 0
        if self.runner is not None:
            self.runner(self.jobs[id])
        return Reply(200, shown(self.jobs[id]))

    def _list(self, call: Call) -> Reply:
        unknown = sorted(set(call.query) - {"label", "stage", "cursor"})
        if unknown:
            raise rules.refusal(400, f"unrecognized keys: {', '.join(unknown)}")
        key, _, value = call.query.get("label", "").partition("=")
        found = [job for job in reversed(self.jobs.values()) if not key or job["labels"].get(key) == value]
        start = int(call.query.get("cursor", 0))
        more = len(found) > start + PAGE
        label = f"label={call.query['label']}&" if key else ""
        link = f'<{self.origin}{call.path}?{label}cursor={start + PAGE}>; rel="next"'
        return Reply(200, [shown(job) for job in found[start : start + PAGE]], {"Link": link} if more else {})

    def _job(self, id: str) -> dict[str, Any]:
        if id not in self.jobs:
            raise rules.refusal(404, "Job not found")
        return self.jobs[id]

    def _look(self, job: dict[str, Any]) -> Reply:
        step = self._steps[job["id"]]
        if job["status"]["stage"] not in ENDED and self.runner is None and step + 1 < len(self.life):
            self._steps[job["id"]] += 1
            stage = self.life[step + 1]
            self.finish(job["id"]) if stage == "COMPLETED" else self.enter(job["id"], stage)
        return Reply(200, shown(job))

    def _stop(self, job: dict[str, Any]) -> Reply:
        if job["status"]["stage"] in ENDED:
            raise rules.refusal(400, "the job has ended")
        if self.stopper is not None:
            self.stopper(job["id"])
        self.enter(job["id"], "CANCELED")
        return Reply(200, shown(job))

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


def shown(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job as the Hub tells it: no timeout, and of secrets the names alone."""
    return {name: value for name, value in job.items() if name != "timeoutSeconds"}


if __name__ == "__main__":
    main(lambda journal: HubStub(journal_file=journal))
