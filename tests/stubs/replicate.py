"""A stateful stand-in of Replicate's API and of the storage behind it, on loopback.

    with ReplicateStub() as stub:
        profile = Profile(name="replicate", home=..., key=lambda: stub.key, base_url=stub.base_url)

What can be set before or between calls:

- `life`: the words that a training goes through; each look at it moves it one word on (any word is allowed), and each
  step writes a line into its log
- `username`: whom the key belongs to
- `inputs` and `required`: what the trainer takes; None for a version that cannot be trained
- `page`: how many rows a page of a list has
- `days`: how long a file lives
- `delivery`: the address of a finished training's weights, when it is not this server
- `weights`: the archive of a finished training; `version` is its ETag
- `set(id, status=…)`: any field of a training, by hand; `finish(id)` completes one at once; `expire(address)` removes a
  file
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.stubs import _replicate_rules as rules
from tests.stubs._http import Call, Reply, StubServer, multipart
from tests.stubs._process import main
from tests.stubs._replicate_rules import iso, refusal

STUB_KEY = "r8_stub0123456789abcdef"
USERNAME = "stub-user"
TRAINER, VERSION = "meta/llama-2-7b", "77dde5d6" * 8
LIFE = ("starting", "processing", "succeeded")
ENDED = {"succeeded", "failed", "canceled", "aborted"}
LOST = "The requested resource could not be found."


def safetensors(content: bytes = bytes(64)) -> bytes:
    """Make a small file of weights: a header, then as many bytes as it says."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(content) // 4], "data_offsets": [0, len(content)]}})
    return len(header).to_bytes(8, "little") + header.encode() + content


def archive(files: dict[str, bytes]) -> bytes:
    """Pack files as the trainers do, in a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as handle:
        for name, content in files.items():
            handle.writestr(name, content)
    return packed.getvalue()


WEIGHTS = {
    "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
    "adapter_model.safetensors": safetensors(bytes(range(256)) * 64),
}


class ReplicateStub(StubServer):
    """Stand in for https://api.replicate.com (no /v1: the paths carry it)."""

    def __init__(self, *, key: str = STUB_KEY, journal_file: Path | None = None) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.life: tuple[str, ...] = LIFE
        self.username = USERNAME
        self.inputs: dict[str, str] | None = dict(rules.INPUTS)
        self.required: tuple[str, ...] = ("train_data",)
        self.page = 100
        self.days = 1.0
        self.delivery = ""
        self.weights = archive(WEIGHTS)
        self.version = "1"
        self.models: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.read: dict[str, dict[str, Any]] = {}  # what the trainer took of a training's input
        self._steps: dict[str, int] = {}
        self._destinations: dict[str, str] = {}
        self._ticks, self._start = 0, datetime.now(UTC)

    def set(self, id: str, **fields: Any) -> None:
        """Change fields of a training by hand."""
        with self.lock:
            self.jobs[id].update(fields)

    def finish(self, id: str) -> None:
        """Let a training end well, now."""
        with self.lock:
            self._enter(self.jobs[id], "succeeded")

    def expire(self, address: str) -> None:
        """Remove a file, as time does."""
        with self.lock:
            del self.files[address.rpartition("/")[2]]

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {self.key}":
            # nastier than the real one: it repeats the key
            given = call.headers.get("authorization", "").removeprefix("Bearer ")
            raise refusal(401, f"You did not pass a valid authentication token: {given}", title="Unauthenticated")
        match call.method, call.path.removeprefix("/v1/").strip("/").split("/"):
            case "GET", ["account"]:
                return Reply(200, {"type": "user", "username": self.username, "name": "Stub"})
            case method, ["files", *rest]:
                return self._files(method, rest, call)
            case method, ["models", *rest]:
                return self._models(method, rest, call)
            case method, ["trainings", *rest]:
                return self._trainings(method, rest, call)
            case "GET", ["delivery", _, _]:
                return self._deliver(call)
        raise refusal(404, LOST)

    def _files(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "GET", []:
                return self._listed(list(self.files.values()), call)
            case "POST", []:
                return self._take_in(call)
            case "GET", [id] if id in self.files:
                return Reply(200, self.files[id])
            case "DELETE", [id] if id in self.files:
                del self.files[id]
                return Reply(204, b"")
        raise refusal(404, LOST)

    def _take_in(self, call: Call) -> Reply:
        parts = multipart(call)
        if set(parts) - {"content", "filename", "type", "metadata"} or "content" not in parts:
            raise refusal(400, f"unknown or missing parts: {sorted(parts)}")
        name, content = parts["content"]
        if not name or not content:
            raise refusal(400, "Missing content or its name")
        id, now = self._id(), datetime.now(UTC)
        self.contents[id] = content
        self.files[id] = {
            "id": id,
            "name": name,
            "content_type": "application/octet-stream",
            "size": len(content),
            "checksums": {"sha256": hashlib.sha256(content).hexdigest()},
            "metadata": {},
            "created_at": iso(now),
            "expires_at": iso(now + timedelta(days=self.days)),
            "urls": {"get": f"{self.origin}/v1/files/{id}"},
        }
        return Reply(201, self.files[id])

    def _models(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "POST", []:
                return self._make(rules.checked(call.json, rules.MODEL, required=tuple(rules.MODEL)[:4]))
            case "GET", [owner, name] if f"{owner}/{name}" in self.models:
                return Reply(200, self.models[f"{owner}/{name}"])
            case "GET", [owner, name, "versions", version] if (f"{owner}/{name}", version) == (TRAINER, VERSION):
                made = None if self.inputs is None else rules.schema(self.inputs, required=self.required)
                return Reply(
                    200, {"id": version, "cog_version": "0.8.6", "openapi_schema": made or {"openapi": "3.0.2"}}
                )
            case "POST", [owner, name, "versions", version, "trainings"]:
                return self._create(f"{owner}/{name}", version, call)
        raise refusal(404, LOST)

    def _make(self, body: dict[str, Any]) -> Reply:
        name = f"{body['owner']}/{body['name']}"
        if body["owner"] != self.username:
            raise refusal(403, "You do not have permission to create a model for this owner")
        if name in self.models:
            raise refusal(409, "A model with that name and owner already exists.")
        shown = {key: value for key, value in body.items() if key != "hardware"}
        self.models[name] = {"url": f"https://replicate.com/{name}", **shown, "run_count": 0, "latest_version": None}
        return Reply(201, self.models[name])

    def _create(self, trainer: str, version: str, call: Call) -> Reply:
        if (trainer, version) != (TRAINER, VERSION):
            raise refusal(
                422, "The specified version does not exist (or perhaps you don't have permission to use it?)",
                title="Invalid version or not permitted",
            )  # fmt: skip
        if self.inputs is None:
            raise refusal(400, f"{version} is not a trainable model version!")
        body = rules.checked(call.json, rules.TRAINING, required=("destination", "input"))
        if body["destination"] not in self.models:
            raise refusal(404, "The destination model does not exist")
        read = rules.checked_input(body["input"], self.inputs, required=self.required)
        id = self._id()
        self.read[id], self._steps[id], self._destinations[id] = read, 0, body["destination"]
        self.jobs[id] = {
            "id": id,
            "model": trainer,
            "version": version,
            "input": body["input"],
            "logs": "",
            "output": None,
            "error": None,
            "status": self.life[0],
            "source": "api",
            "created_at": self._tick(),
            "started_at": None,
            "completed_at": None,
            "urls": {
                "get": f"{self.origin}/v1/predictions/{id}",
                "cancel": f"{self.origin}/v1/predictions/{id}/cancel",
            },
        }
        return Reply(201, dict(self.jobs[id]))

    def _trainings(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "GET", []:
                return self._listed(list(self.jobs.values()), call)
            case "GET", [id] if id in self.jobs:
                return self._look(self.jobs[id])
            case "POST", [id, "cancel"] if id in self.jobs:
                return self._stop(self.jobs[id])
        raise refusal(404, LOST)

    def _look(self, job: dict[str, Any]) -> Reply:
        if job["status"] not in ENDED and self._steps[job["id"]] + 1 < len(self.life):
            self._steps[job["id"]] += 1
            self._enter(job, self.life[self._steps[job["id"]]])
        return Reply(200, dict(job))

    def _enter(self, job: dict[str, Any], word: str) -> None:
        step = job["logs"].count("\n")
        job.update(status=word, logs=f"{job['logs']} step {step} is completed and loss is {2.5 - step / 10}\n")
        job["started_at"] = job["started_at"] or self._tick()
        if word not in ENDED:
            return
        job.update(completed_at=self._tick(), metrics={"predict_time": 502.713876, "total_time": 510.0})
        if word == "succeeded":
            place = self.delivery or f"{self.origin}/delivery/{job['id']}/training_output.zip"
            version = hashlib.sha256(job["id"].encode()).hexdigest()
            job["output"] = {"version": f"{self._destinations[job['id']]}:{version}", "weights": place}
        elif word == "failed":
            job["error"] = "Training failed with exit code 1! Check logs for details"

    def _stop(self, job: dict[str, Any]) -> Reply:
        if job["status"] in ENDED:
            raise refusal(400, "This training has already completed")
        job.update(status="canceled", completed_at=self._tick())
        return Reply(200, dict(job))

    def _deliver(self, call: Call) -> Reply:
        content, headers = self.weights, {"ETag": f'"{self.version}"'}
        asked = call.headers.get("range")
        if asked is None:
            return Reply(200, content, headers)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206, content[start:], {**headers, "Content-Range": told})

    def _listed(self, rows: list[dict[str, Any]], call: Call) -> Reply:
        if set(call.query) - {"cursor"}:
            raise refusal(400, f"unknown query: {sorted(call.query)}")
        start = int(call.query.get("cursor", "0"))
        end = start + self.page
        more = f"{self.origin}{call.path}?cursor={end}" if end < len(rows) else None
        return Reply(200, {"previous": None, "next": more, "results": rows[::-1][start:end]})

    def _id(self) -> str:
        self._ticks += 1
        return f"zz4ibbonubfz7carwiefib{self._ticks:04}"

    def _tick(self) -> str:
        self._ticks += 1
        return iso(self._start + timedelta(seconds=self._ticks))


if __name__ == "__main__":
    main(lambda journal: ReplicateStub(journal_file=journal))
