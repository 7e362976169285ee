"""A stateful stand-in of Fireworks' gateway and of the storage behind it, on loopback.

    with FireworksStub() as stub:
        profile = Profile(name="fireworks", home=..., key=lambda: stub.key, base_url=stub.base_url)

What can be set before or between calls:

- `life`: the words that a job goes through; each look at it moves it one word on (any word is allowed)
- `accounts`: those that the key serves; `ACCOUNT` is where everything lies
- `landing`: for how many `:validateUpload` calls the bytes are said to be still on their way
- `page`: how many jobs a page of a list holds at most
- `encryption`: the state of encryption that a new dataset shows
- `given_region`: where jobs are placed, whatever was asked for
- `models`: the public models in the list, tunable or not
- `storage`: the origin of signed addresses, when it is not this server
- `weights`: the files of a finished model; `version` is their ETag
- `set(job_name, state=…)`: any field of a job, by hand; `finish(job_name)` completes one at once;
  `hold(content, examples)` is a dataset that was uploaded and validated before
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.stubs import _fireworks_rules as rules
from tests.stubs._fireworks_rules import iso
from tests.stubs._http import Call, Reply, StubServer
from tests.stubs._process import main

STUB_KEY = "fw-stub-0123456789abcdef"
ACCOUNT = "stub-account"
PREFIX = "JOB_STATE_"
LIFE = tuple(PREFIX + word for word in ("CREATING", "VALIDATING", "PENDING", "RUNNING", "WRITING_RESULTS", "COMPLETED"))
ENDED = {PREFIX + word for word in ("COMPLETED", "FAILED", "CANCELLED", "EXPIRED", "EARLY_STOPPED", "DELETED")}
START = 1_790_000_000
STORAGE = "/storage/"
WEIGHTS = {
    "adapter_config.json": b'{"peft_type": "LORA", "r": 8}\n',
    "adapter_model.safetensors": bytes(range(256)) * 1024,
}
IDS = {"supervisedFineTuningJobs": "supervisedFineTuningJobId", "dpoJobs": "dpoJobId"}


@dataclass
class StoredDataset:
    """Be a dataset: named, then filled (`files`), then looked through (`state`)."""

    shown: dict[str, Any]
    wanted: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    wedged: bool = False


class FireworksStub(StubServer):
    """Stand in for https://api.fireworks.ai (no /v1: the paths carry it)."""

    def __init__(self, *, key: str = STUB_KEY, journal_file: Path | None = None) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.life: tuple[str, ...] = LIFE
        self.accounts: tuple[str, ...] = (ACCOUNT,)
        self.landing = 0
        self.page = 200
        self.encryption = "ENCRYPTION_STATE_PLAINTEXT"
        self.given_region: str | None = None
        self.storage = ""
        self.weights: dict[str, bytes] = dict(WEIGHTS)
        self.version = "1"
        self.models: list[dict[str, Any]] = [rules.model(name) for name in (*sorted(rules.TUNABLE), rules.UNTUNABLE)]
        self.datasets: dict[str, StoredDataset] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self._steps: dict[str, int] = {}
        self._ticks = START

    def set(self, name: str, **fields: Any) -> None:
        """Change fields of a job by hand."""
        with self.lock:
            self.jobs[name].update(fields)

    def hold(self, content: bytes, *, examples: int = 12) -> str:
        """Keep a dataset as if it had been uploaded and validated, and return its name."""
        with self.lock:
            name = f"accounts/{ACCOUNT}/datasets/held-{len(self.datasets)}"
            shown = {"name": name, "state": "READY", "exampleCount": str(examples), "status": {"code": "OK"}}
            self.datasets[name] = StoredDataset(shown, files={"data.jsonl": content})
            return name

    def finish(self, name: str) -> None:
        """Let a job end well, now."""
        with self.lock:
            self._enter(self.jobs[name], f"{PREFIX}COMPLETED")

    def answer(self, call: Call) -> Reply:
        if call.path.startswith(STORAGE):
            return self._store(call)
        if call.headers.get("authorization") != f"Bearer {self.key}":
            # nastier than the real one: it repeats the key
            given = call.headers.get("authorization", "").removeprefix("Bearer ")
            raise rules.refusal(rules.UNAUTHENTICATED, f"the API key {given} is not valid")
        where, _, verb = call.path.removeprefix("/v1/").partition(":")
        match call.method, where.split("/"), verb:
            case "GET", ["accounts"], "":
                rows = [{"name": f"accounts/{name}", "state": "READY"} for name in self.accounts]
                return Reply(200, {"accounts": rows, "totalSize": len(rows)})
            case "GET", ["accounts", "fireworks", "models"], "":
                return self._list_models(call)
            case _, ["accounts", account, *_], _ if account not in self.accounts:
                raise rules.refusal(7, f"you have no access to account {account}")
            case method, ["accounts", _, "datasets", *rest], verb:
                return self._datasets(method, where, rest, verb, call)
            case method, ["accounts", _, ("supervisedFineTuningJobs" | "dpoJobs") as collection, *rest], verb:
                return self._tunes(method, where, collection, rest, verb, call)
            case "GET", ["accounts", _, "models", _], "getDownloadEndpoint":
                return self._hand_out(where)
        raise rules.refusal(rules.MISSING, f"no such endpoint: {call.route}")

    def _list_models(self, call: Call) -> Reply:
        size, start = rules.checked_page(call.query)
        rows = self.models[start : start + size]
        token = str(start + size) if start + size < len(self.models) else ""
        return Reply(200, {"models": rows, "nextPageToken": token, "totalSize": len(self.models)})

    def _datasets(self, method: str, where: str, rest: list[str], verb: str, call: Call) -> Reply:
        match method, rest, verb:
            case "POST", [], "":
                return self._name(where, call.json)
            case "GET", [_], "":
                return Reply(200, dict(self._dataset(where).shown))
            case "DELETE", [_], "":
                del self.datasets[str(self._dataset(where).shown["name"])]
                return Reply(200, {})
            case "POST", [_], "getUploadEndpoint":
                return self._give_place(self._dataset(where), call.json)
            case "POST", [_], "validateUpload":
                return self._validate(self._dataset(where), call.json)
        raise rules.refusal(rules.MISSING, f"no such endpoint: {call.route}")

    def _name(self, where: str, body: Any) -> Reply:
        fields = {"datasetId": lambda value: isinstance(value, str), "dataset": lambda value: isinstance(value, dict)}
        wanted = rules.checked(body, fields, required=("datasetId", "dataset"))
        dataset = rules.checked(wanted["dataset"], rules.DATASET, required=("exampleCount",))
        name = f"{where}/{rules.checked_id(wanted['datasetId'])}"
        if name in self.datasets:
            raise rules.refusal(rules.EXISTS, f"dataset {name} already exists")
        status = {"code": "OK", "message": ""}
        shown = {**dataset, "name": name, "state": "UPLOADING", "status": status, "encryptionState": self.encryption}
        self.datasets[name] = StoredDataset({**shown, "createTime": iso(self._tick())})
        return Reply(200, dict(shown))

    def _dataset(self, name: str) -> StoredDataset:
        if name not in self.datasets:
            raise rules.refusal(rules.MISSING, f"dataset {name} not found")
        return self.datasets[name]

    def _give_place(self, dataset: StoredDataset, body: Any) -> Reply:
        if dataset.wedged or dataset.shown["state"] != "UPLOADING":
            raise rules.refusal(rules.PRECONDITION, "method not allowed", status=405)
        sizes = rules.checked(body, {"filenameToSize": lambda value: isinstance(value, dict)})["filenameToSize"]
        if not sizes or not all(isinstance(size, str) and size.isdecimal() and size != "0" for size in sizes.values()):
            raise rules.refusal(rules.INVALID, "filenameToSize must map names to sizes")
        dataset.wanted = {name: int(size) for name, size in sizes.items()}
        return Reply(200, {"filenameToSignedUrls": {n: self._sign(dataset.shown["name"], n) for n in sizes}})

    def _sign(self, name: str, file: str) -> str:
        return f"{self.storage or self.origin}{STORAGE}{name}/{quote(file)}?signature=stub"

    def _validate(self, dataset: StoredDataset, body: Any) -> Reply:
        rules.checked(body, {})
        if dataset.shown["state"] == "READY":
            return Reply(200, {})
        if self.landing > 0 or set(dataset.files) != set(dataset.wanted) or not dataset.wanted:
            dataset.wedged = not dataset.files
            self.landing = max(0, self.landing - 1)
            raise rules.refusal(rules.PRECONDITION, "files are still landing")
        (content,) = dataset.files.values()
        fault = rules.fault_in(content, int(dataset.shown["exampleCount"]))
        if fault is not None:
            dataset.shown["status"] = {"code": "INVALID_ARGUMENT", "message": fault}
            raise rules.refusal(rules.INVALID, fault)
        dataset.shown["state"] = "READY"
        return Reply(200, {})

    def _store(self, call: Call) -> Reply:
        if "authorization" in call.headers:
            raise rules.refusal(rules.INVALID, "only one auth mechanism is allowed: the key must not come here")
        if call.query.get("signature") != "stub":
            raise rules.refusal(7, "SignatureDoesNotMatch")
        name, _, file = call.path.removeprefix(STORAGE).partition("/files/")
        if file:
            return self._read(file, call)
        name, _, file = call.path.removeprefix(STORAGE).rpartition("/")
        dataset = self._dataset(name)
        size = dataset.wanted.get(file)
        signed = (call.headers.get("content-type"), call.headers.get("x-goog-content-length-range"))
        if call.method != "PUT" or signed != ("application/octet-stream", f"{size},{size}") or len(call.body) != size:
            raise rules.refusal(rules.INVALID, "MalformedSecurityHeader")
        dataset.files[file] = call.body
        return Reply(200, b"")

    def _tunes(self, method: str, where: str, kind: str, rest: list[str], verb: str, call: Call) -> Reply:
        match method, rest, verb:
            case "GET", [], "":
                return self._list(where, kind, call)
            case "POST", [], "":
                return self._create(where, kind, call)
            case "GET", [_], "":
                return self._look(self._job(where))
            case "POST", [_], "cancel":
                return self._stop(self._job(where), call.json)
            case "POST", [_], "resume":
                job = self._job(where)
                if job["state"] != f"{PREFIX}PAUSED":
                    raise rules.refusal(rules.PRECONDITION, "the job is not paused")
                job["state"] = f"{PREFIX}RUNNING"
                return Reply(200, dict(job))
        raise rules.refusal(rules.MISSING, f"no such endpoint: {call.route}")

    def _list(self, where: str, kind: str, call: Call) -> Reply:
        if set(call.query) - {"pageSize", "pageToken"}:
            raise rules.refusal(rules.INVALID, f"unknown query: {sorted(call.query)}")
        rows = [dict(job) for name, job in self.jobs.items() if name.startswith(f"{where}/")]
        start = int(call.query.get("pageToken", "0"))
        end = start + min(int(call.query.get("pageSize", "50")), self.page)
        more = str(end) if end < len(rows) else ""
        return Reply(200, {kind: rows[start:end], "nextPageToken": more, "totalSize": len(rows)})

    def _create(self, where: str, kind: str, call: Call) -> Reply:
        if set(call.query) != {IDS[kind]}:
            raise rules.refusal(rules.INVALID, f"unknown query: {sorted(call.query)}")
        body = rules.checked_job(kind, call.json)
        for param in ("dataset", "evaluationDataset"):
            if param in body:
                self._check_use(body[param], kind)
        name = f"{where}/{rules.checked_id(call.query[IDS[kind]])}"
        if name in self.jobs:
            raise rules.refusal(rules.EXISTS, f"job {name} already exists")
        cost = {"currencyCode": "USD", "units": "2", "nanos": 500_000_000}
        shown = {**body, "name": name, "state": self.life[0], "createTime": iso(self._tick()), "estimatedCost": cost}
        if self.given_region is not None:
            shown["region"] = self.given_region
        self.jobs[name] = shown | {"status": {"code": "OK", "message": ""}, "createdBy": "someone@example.com"}
        self._steps[name] = 0
        return Reply(200, dict(self.jobs[name]))

    def _check_use(self, name: str, kind: str) -> None:
        dataset = self.datasets.get(name)
        if dataset is None or dataset.shown["state"] != "READY":
            raise rules.refusal(rules.INVALID, f"dataset {name} is not ready")
        rows = next(iter(dataset.files.values())).decode().splitlines()
        if rules.kind_of(rules.json.loads(rows[0])) != kind:
            raise rules.refusal(rules.INVALID, "the data do not fit the method")

    def _job(self, name: str) -> dict[str, Any]:
        if name not in self.jobs:
            raise rules.refusal(rules.MISSING, f"job {name} not found")
        return self.jobs[name]

    def _look(self, job: dict[str, Any]) -> Reply:
        if job["state"] == f"{PREFIX}CANCELLING":
            self._enter(job, f"{PREFIX}CANCELLED")
        elif job["state"] not in ENDED and self._steps[job["name"]] + 1 < len(self.life):
            self._steps[job["name"]] += 1
            self._enter(job, self.life[self._steps[job["name"]]])
        return Reply(200, dict(job))

    def _enter(self, job: dict[str, Any], word: str) -> None:
        job.update(state=word, updateTime=iso(self._tick()))
        if word in ENDED:
            job["completedTime"] = iso(self._tick())

    def _stop(self, job: dict[str, Any], body: Any) -> Reply:
        rules.checked(body, {})
        if job["state"] in ENDED | {f"{PREFIX}CANCELLING"}:
            raise rules.refusal(rules.PRECONDITION, f"job {job['name']} cannot be cancelled")
        job["state"] = f"{PREFIX}CANCELLING"
        return Reply(200, {})

    def _hand_out(self, model: str) -> Reply:
        ready = (job for job in self.jobs.values() if job["state"] == f"{PREFIX}COMPLETED")
        if model not in {job.get("trainingConfig", job).get("outputModel") for job in ready}:
            raise rules.refusal(rules.MISSING, f"model {model} not found")
        return Reply(200, {"filenameToSignedUrls": {n: self._sign(f"{model}/files", n) for n in self.weights}})

    def _read(self, file: str, call: Call) -> Reply:
        content = self.weights[file]
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        headers = {"ETag": f'"{self.version}-{file}"', "x-goog-hash": f"crc32c=AAAAAA==,md5={digest}"}
        asked = call.headers.get("range")
        if asked is None:
            return Reply(200, content, headers)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        told = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206, content[start:], {**headers, "Content-Range": told})

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


if __name__ == "__main__":
    main(lambda journal: FireworksStub(journal_file=journal))
