"""A stateful stand-in of Together's files and fine-tuning endpoints, and of the storage behind them, on loopback.

    with TogetherStub() as stub:
        profile = Profile(name="together", home=..., key=lambda: stub.key, base_url=stub.base_url)

What can be set before or between calls:

- `life`: the words that a job goes through; each retrieve moves it one word on (any word is allowed)
- `file_life`: the words that a file goes through once its checks are asked for; each look moves it on
- `steps`: how many `checkpoint_save` events a run writes; `hashes`: whether events carry one
- `tells_events`: whether the answer about one job carries its events, as the service's does
- `hide_new`: for how many list calls a new job stays out of the list
- `cancels_ended`: a cancel of an ended job is answered with the job, without its events, instead of refused
- `spent`: creation is refused with 402; `allowed`: what the price estimate says of it
- `storage`: the origin that uploads are sent to, when it is not this server
- `store.models`, `store.version`, `store.away`: the archives of models, and how they are handed out
- `more_figures`: rows of figures beside those of the checkpoints
- `restart(job_id, …)`: a job fails, and is started again under a new id
- `set(job_id, status=…)`, `tell(job_id, kind, message, …)`: any field or event of a job, by hand;
  `finish(job_id)` completes one at once; `hold(content)` is a file that was uploaded and validated before
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.stubs import _together_rules as rules
from tests.stubs._http import Call, Reply, StubServer, multipart
from tests.stubs._process import main
from tests.stubs._together_rest import NO_FIGURES, Rest, StoredJob, metrics
from tests.stubs._together_rules import StoredFile, iso
from tests.stubs._together_storage import PATH, Storage

STUB_KEY = "tgp-stub-0123456789abcdef"
LIFE = ("pending", "queued", "running", "running", "compressing", "uploading", "completed")
FILE_LIFE = ("RUNNING", "COMPLETED")
ENDED = {"completed", "cancelled", "error", "user_error"}
START = 1_790_000_000
NANO = 10**9
PRICE = 480  # nano-dollars a token: $0.48 per million
MINIMUM = 4 * NANO
STORAGE = PATH


class TogetherStub(StubServer):
    """Stand in for https://api.together.ai (no /v1: the paths carry it)."""

    def __init__(self, *, key: str = STUB_KEY, journal_file: Path | None = None) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.life: tuple[str, ...] = LIFE
        self.cancels_ended = False
        self.file_life: tuple[str, ...] = FILE_LIFE
        self.steps = 2
        self.hashes = True
        self.tells_events = True
        self.more_figures: list[dict[str, float]] = []
        self.hide_new = 0
        self.spent = False
        self.allowed = True
        self.storage = ""
        self.files: dict[str, StoredFile] = {}
        self._records: dict[str, StoredJob] = {}
        self._ticks = START
        self.rest = Rest(self)
        self.store = Storage(self)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Show every job by id, as the API would."""
        return {id: record.shown for id, record in self._records.items()}

    def set(self, job_id: str, **fields: Any) -> None:
        """Change fields of a job by hand."""
        with self.lock:
            self._records[job_id].shown.update(fields)

    def tell(self, job_id: str, kind: str, message: str, *, level: str = "info", **figures: Any) -> None:
        """Add an event to a job by hand."""
        with self.lock:
            self._tell(self._records[job_id], kind, message, level=level, **figures)

    def told(self, job_id: str) -> int:
        """Count the events of a job."""
        with self.lock:
            return len(self._records[job_id].events)

    def figures(self, job_id: str) -> list[dict[str, float]]:
        """List the metrics of a job."""
        with self.lock:
            return metrics(self._records[job_id], {})

    def hold(self, content: bytes) -> str:
        """Keep a file as if it had been uploaded and validated, and return its id."""
        with self.lock:
            id = f"file-held-{len(self.files):04d}"
            checksum = hashlib.sha256(content).hexdigest()
            held = StoredFile(id, "train.jsonl", checksum, self._tick(), content, steps=["COMPLETED"])
            self.files[id] = held
            self.look(held)
            return id

    def finish(self, job_id: str) -> None:
        """Let a job end well, now."""
        with self.lock:
            self.enter(self._records[job_id], "completed")

    def restart(self, job_id: str, *, says: str = "Job restarted as {new}", keeps_suffix: bool = True) -> str:
        """Let a job fail on the service's side, start it again under a new id, and return that."""
        with self.lock:
            old = self._records[job_id]
            new, now = f"ft-{len(self._records):08x}-{START + 1:x}", iso(self._tick())
            again = {**old.shown, "id": new, "status": self.life[0], "created_at": now, "updated_at": now}
            if not keeps_suffix:
                again.pop("suffix", None)
            self._records[new] = StoredJob(again, hidden=0)
            self._tell(self._records[new], "job_pending", "Fine-tune job created")
            self.enter(old, "error")
            self._tell(old, "job_restarted", says.format(new=new), level="warning")
            self._tell(old, "refund", "The job was refunded")
            old.shown.update(total_price=0)
            return new

    def census(self) -> dict[str, Any]:
        files = [hashlib.sha256(file.content).hexdigest() for file in self.files.values() if file.content is not None]
        return {"jobs": list(self.jobs.values()), "files": files}

    def answer(self, call: Call) -> Reply:
        if call.path.startswith(STORAGE):
            return self.store.answer(call)
        if call.headers.get("authorization") != f"Bearer {self.key}":
            # nastier than the real one: it repeats the key
            given = call.headers.get("authorization", "").removeprefix("Bearer ")
            raise rules.refusal(401, f"Invalid API key provided: {given}", code="invalid_api_key")
        match call.method, call.path.strip("/").split("/"):
            case "POST", ["v1", "files"]:
                return self._reserve(call)
            case "POST", ["v1", "files", "multipart", ("initiate" | "complete" | "abort") as act]:
                return self.store.multipart(act, call.json)
            case "GET", ["v1", "finetune", "download"]:
                return self.store.download(call)
            case "GET", ["v1", "files", id]:
                return self.look(self.file(id))
            case "POST", ["v1", "files", id, "preprocess"]:
                return self._preprocess(self.file(id))
            case method, ["v1", "fine-tunes", *rest]:
                return self._tunes(method, rest, call)
        return self.rest.answer(call)

    def _tunes(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "POST", []:
                return self._create(rules.checked_job(call.json))
            case "GET", []:
                return self._list()
            case "POST", ["estimate-price"]:
                return self._estimate(rules.checked_quote(call.json))
            case "GET", ["models", "limits"]:
                return Reply(200, rules.limits(rules.checked_query(call.query, "model_name")))
            case "GET", ["models", "supported"]:
                return Reply(200, {"models": list(rules.TUNABLE)})
            case "GET", [id]:
                return self._retrieve(id)
            case "GET", [id, "events"]:
                return Reply(200, {"data": [dict(event) for event in self.job(id).events]})
            case "POST", [id, "cancel"]:
                return self._cancel(self.job(id))
        return self.rest.answer(call)

    def _reserve(self, call: Call) -> Reply:
        form = {name: content.decode() for name, (_, content) in multipart(call).items()}
        file = self.reserved(rules.checked(form, rules.FORM_FIELDS, required=tuple(rules.FORM_FIELDS)))
        if isinstance(file, Reply):
            return file
        where = f"{self.storage or self.origin}{STORAGE}{file.id}?signature=stub"
        return Reply(302, {}, {"Location": where, "X-Together-File-Id": file.id})

    def reserved(self, form: dict[str, str]) -> StoredFile | Reply:
        """Make a place for a file, or say which one has its bytes already."""
        for file in self.files.values():
            if file.checksum == form["checksum"] and file.content is not None:
                return Reply(409, {"file_id": file.id, "message": "File already exists"})
        file = StoredFile(f"file-{len(self.journal):06d}", form["file_name"], form["checksum"], self._tick())
        self.files[file.id] = file
        return file

    def file(self, id: str, *, status: int = 404) -> StoredFile:
        if id not in self.files:
            raise rules.refusal(status, f"File {id} not found")
        return self.files[id]

    def _preprocess(self, file: StoredFile) -> Reply:
        if file.content is None:
            raise rules.refusal(400, "the file has no content")
        file.steps = list(self.file_life)
        return self.look(file)

    def look(self, file: StoredFile) -> Reply:
        if file.steps:
            file.status = file.steps.pop(0)
            if file.status == "COMPLETED" and file.content is not None:
                file.report = rules.report_on(file.content)
                file.status = "COMPLETED" if file.report["valid"] else "INVALID_FORMAT"
        return Reply(200, file.shown())

    def _create(self, body: dict[str, Any]) -> Reply:
        if self.spent:
            raise rules.refusal(402, "You have reached your spending limit", code="spending_limit")
        for param in ("training_file", "validation_file"):
            if body.get(param):
                self._check_use(self.file(body[param], status=400), body)
        now = iso(self._tick())
        shown = {
            **body,
            "batch_size": rules.batch_size(body),
            "id": f"ft-{len(self.journal):08x}-{START:x}",
            "status": self.life[0],
            "created_at": now,
            "updated_at": now,
            "user_id": "user-stub",
            "token_count": 0,
            "total_price": 0,
        }
        record = StoredJob(shown, hidden=self.hide_new)
        self._records[shown["id"]] = record
        self._tell(record, "job_pending", "Fine-tune job created")
        return Reply(200, dict(shown))

    def _check_use(self, file: StoredFile, body: dict[str, Any]) -> None:
        if file.status != "COMPLETED" or file.report is None:
            raise rules.refusal(400, f"File {file.id} is not validated: {file.status}", param="training_file")
        preference = file.report["dataset_format"] == "PREFERENCE_OPENAI"
        if preference != (body.get("training_method", {}).get("method") == "dpo"):
            raise rules.refusal(400, "the data do not fit the training method", param="training_method")

    def _list(self) -> Reply:
        found = []
        for record in self._records.values():
            if record.hidden > 0:
                record.hidden -= 1
            else:
                found.append(dict(record.shown))
        return Reply(200, {"data": found})

    def job(self, id: str) -> StoredJob:
        if id not in self._records:
            raise rules.refusal(404, f"Fine-tune {id} not found")
        return self._records[id]

    def _retrieve(self, id: str) -> Reply:
        record = self.job(id)
        if record.shown["status"] == "cancel_requested":
            self.enter(record, "cancelled")
        elif record.shown["status"] not in ENDED and record.step + 1 < len(self.life):
            record.step += 1
            self.enter(record, self.life[record.step])
        told = {"events": [dict(event) for event in record.events]} if self.tells_events else {}
        return Reply(200, {**record.shown, **told})

    def enter(self, record: StoredJob, word: str) -> None:
        """Move a job to its next word, with the events and fields that belong to it."""
        before, job = record.shown["status"], record.shown
        job.update(status=word, updated_at=iso(self._tick()))
        if word == "running" and before != "running":
            self._tell(record, "job_start", "Job started")
            for step in range(1, self.steps + 1):
                said = f"Checkpoint saved at step {step}"
                self._tell(record, "checkpoint_save", said, step=step, total_steps=self.steps)
        elif word == "completed":
            name = f"stub-account/{job['model'].split('/')[-1]}-{job.get('suffix', '')}-{job['id'][3:11]}"
            tokens, price = self._bill(job)
            job.update(model_output_name=name, token_count=tokens, total_price=price)
            self._tell(record, "job_complete", "Job completed")
        elif word in ("error", "user_error"):
            self._tell(record, "job_error", f"Training ended as {word}", level="error")

    def _bill(self, body: dict[str, Any]) -> tuple[int, int]:
        def tokens(param: str) -> int:
            file = self.files.get(body.get(param, ""))
            return len(file.content or b"") // 4 if file is not None else 0

        trained = tokens("training_file") * body.get("n_epochs", 1)
        billed = trained + tokens("validation_file") * body.get("n_evals", 0)
        return trained, max(MINIMUM, billed * PRICE)

    def _cancel(self, record: StoredJob) -> Reply:
        if record.shown["status"] in ENDED and self.cancels_ended:
            return Reply(200, {name: value for name, value in record.shown.items() if name != "events"})
        if record.shown["status"] in ENDED | {"cancel_requested"}:
            raise rules.refusal(400, f"Fine-tune {record.shown['id']} cannot be cancelled")
        record.shown.update(status="cancel_requested", updated_at=iso(self._tick()))
        self._tell(record, "cancel_requested", "Cancellation was asked for")
        return Reply(200, dict(record.shown))

    def _estimate(self, body: dict[str, Any]) -> Reply:
        for param, word in (("training_file", "train"), ("validation_file", "eval")):
            status = self.file(body[param], status=400).status if body.get(param) else "COMPLETED"
            if status != "COMPLETED":
                fault = "invalid" if status in {"INVALID_FORMAT", "FAILED"} else "not_validated"
                reason = f"{word}_file_{fault}"
                return Reply(200, {"estimation_available": False, "unavailable_reason": reason})
        tokens, price = self._bill(body)
        return Reply(200, {
            "estimation_available": True,
            "allowed_to_proceed": self.allowed,
            "estimated_total_price": price / NANO,
            "estimated_train_token_count": tokens,
            "estimated_eval_token_count": 0,
            "user_limit": 100.0 if self.allowed else 1.0,
        })  # fmt: skip

    def _tell(self, record: StoredJob, kind: str, message: str, *, level: str = "info", **figures: Any) -> None:
        told = f"{record.shown['id']}-{len(record.events)}"
        record.events.append({
            "object": "fine-tune-event",
            "created_at": iso(self._tick()),
            "type": kind,
            "level": level,
            "message": message,
            **NO_FIGURES,
            **figures,
            **({"hash": hashlib.sha256(told.encode()).hexdigest()[:16]} if self.hashes else {}),
        })  # fmt: skip

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


if __name__ == "__main__":
    main(lambda journal: TogetherStub(journal_file=journal))
