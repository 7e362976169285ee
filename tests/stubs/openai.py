"""A stateful stand-in of OpenAI's files, fine-tuning and chat endpoints, on loopback.

    with OpenAIStub() as stub:
        profile = Profile(name="openai", home=..., key=lambda: stub.key, base_url=stub.base_url)

What can be set before or between calls:

- `life`: the words that a job goes through; each retrieve moves it one word on (any word is allowed)
- `steps`: how many `metrics` events a run writes
- `page`: how many jobs a page of their list has at most
- `hide_new`: for how many list calls a new job stays out of the list
- `deaf`: the list does not heed the metadata filter
- `closed`, `spent`: creation is refused with training_not_available, or with insufficient_quota
- `not_ready`: how many chats a new model answers with 404
- `unchecked`: how many looks at a file find it pending, where files are checked first
- `manner`: whose ways these are: OPENAI, AZURE, NEBIUS, OWN of `_openai_manners`
- `hours_passed`: how late it is; setting it lets uploads in parts run out
- `lost`: setting it makes the stand-in forget so many parts that came, of uploads that wait
- `garbled`: setting it spoils a byte in so many of them
- `strict_parts`: an upload is whole only if no part of it came twice
- `results`: what the result file of a job is that succeeds, None for none
- `set(job_id, status=…)`: any field of a job, by hand; `finish(job_id)`: the rest of its life at once
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.stubs import _openai_rules as rules
from tests.stubs._http import Call, Reply, StubServer, multipart
from tests.stubs._openai_manners import OPENAI, Manner
from tests.stubs._openai_rest import Rest, checkpoint_name, ends
from tests.stubs._openai_store import AUTO, StoredFile, StoredJob, memory, new_job, page, question
from tests.stubs._process import main

ENDED = {"succeeded", "failed", "cancelled"}
NULLS = {"code": None, "message": None, "param": None}
CHOSEN = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8, "beta": 0.1}  # what "auto" becomes
START = 1_790_000_000
UNTAUGHT = "I do not know."


class OpenAIStub(StubServer):
    """Stand in for https://api.openai.com/v1."""

    prefix = "/v1"

    def __init__(
        self,
        *,
        key: str = "sk-stub-0123456789abcdef",
        journal_file: Path | None = None,
        manner: Manner = OPENAI,
    ) -> None:
        super().__init__(key=key, journal_file=journal_file)
        self.manner = manner
        self.life: tuple[str, ...] = manner.life
        self.unchecked = 0
        self.results: bytes | None = None
        self.steps = 3
        self.hide_new = 0
        self.page = 100
        self.deaf = False
        self.closed = False
        self.spent = False
        self.not_ready = 0
        self.strict_parts = True
        self.hours_passed = 0
        self.files: dict[str, StoredFile] = {}
        self._records: dict[str, StoredJob] = {}
        self._answers: dict[str, dict[str, str]] = {}
        self._ticks = START
        self.admin_key = f"{key}-of-an-admin"
        self.rest = Rest(self)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Show every job by id, as the API would."""
        return {id: record.shown for id, record in self._records.items()}

    def set(self, job_id: str, **fields: Any) -> None:
        """Change fields of a job by hand."""
        with self.lock:
            self._records[job_id].shown.update(fields)

    def told(self, job_id: str) -> int:
        """Count the events of a job."""
        with self.lock:
            return len(self._records[job_id].events)

    def finish(self, job_id: str) -> None:
        """Take a job through all the words that are left of its life."""
        with self.lock:
            record = self._records[job_id]
            while record.step + 1 < len(self.life) and record.shown["status"] not in ENDED:
                self._move(record)

    def census(self) -> dict[str, Any]:
        files = [
            hashlib.sha256(file.content).hexdigest() for file in self.files.values() if file.purpose == "fine-tune"
        ]
        return {"jobs": list(self.jobs.values()), "files": files}

    def answer(self, call: Call) -> Reply:
        given = self.manner.key_of(call)
        if "/permissions" not in call.path and given != self.key:
            # nastier than the real one, which masks the middle of the key that it repeats
            raise rules.refusal(401, f"Incorrect API key provided: {given}.", code="invalid_api_key")
        way = call.path.removeprefix(self.prefix).strip("/").split("/")
        match call.method, way:
            case "POST", ["files"]:
                return self._upload(call)
            case "GET", ["files"]:
                return self._list_files(call.query)
            case "GET", ["files", id]:
                return self._look_at_file(self._file(id, status=404))
            case "GET", ["files", id, "content"]:
                return Reply(200, self._file(id, status=404).content)
            case "DELETE", ["files", id]:
                del self.files[self._file(id, status=404).id]
                return Reply(200, {"id": id, "object": "file", "deleted": True})
            case "POST", ["fine_tuning", "jobs"]:
                return self._create(call)
            case "GET", ["fine_tuning", "jobs"]:
                return self._list_jobs(call.query)
            case "GET", ["fine_tuning", "jobs", id]:
                return self._retrieve(id)
            case "POST", ["fine_tuning", "jobs", id, "cancel"]:
                return self._cancel(id)
            case "GET", ["fine_tuning", "jobs", id, "events"]:
                told = [dict(event) for event in self.job(id).events]
                return page(told if self.manner.oldest_first else told[::-1], call.query)
            case "POST", ["chat", "completions"]:
                return self._chat(call)
        return self.rest.answer(call, way)

    def _upload(self, call: Call) -> Reply:
        try:
            parts = multipart(call)
        except (ValueError, StopIteration, KeyError):
            raise rules.refusal(400, "Could not parse multipart form") from None
        name, content = parts.get("file", (None, b""))
        purpose = parts.get("purpose", (None, b""))[1].decode()
        expiry = {field[14:-1]: value.decode() for field, (_, value) in parts.items() if field.startswith("expires_")}
        given = {field for field in parts if not field.startswith("expires_")}
        if given != {"file", "purpose"} or name is None or purpose not in rules.PURPOSES:
            raise rules.refusal(400, "'file' and 'purpose' are required", param="purpose")
        if expiry and not rules.expires(expiry):
            raise rules.refusal(400, "Invalid value for 'expires_after'.", param="expires_after")
        if purpose == "fine-tune":
            self.manner.checked_upload(content)
        status = "pending" if self.manner.looks_at_files and self.unchecked else self.manner.file_status
        file = StoredFile(f"file-{len(self.journal):06d}", name, purpose, content, self.tick(), status)
        self.files[file.id] = file
        return Reply(200, file.shown())

    def _look_at_file(self, file: StoredFile) -> Reply:
        self.unchecked -= file.status == "pending"
        reply = Reply(200, file.shown())
        if file.status == "pending" and self.unchecked <= 0:
            file.status = "processed"
        return reply

    def _list_files(self, query: Mapping[str, str]) -> Reply:
        purpose = query.get("purpose")
        found = [file.shown() for file in self.files.values() if purpose in (None, file.purpose)]
        newest_first = query.get("order", "desc") == "desc"
        return ends(found[::-1] if newest_first else found, query, limit=10_000)

    def _file(self, id: str, *, status: int, param: str | None = None) -> StoredFile:
        if id not in self.files:
            raise rules.refusal(status, f"No such File object: {id}", param=param or "id")
        return self.files[id]

    def _create(self, call: Call) -> Reply:
        body, kind, knobs = self.manner.checked_job(rules.json_of(call))
        for param in ("training_file", "validation_file"):
            file = self._file(body[param], status=400, param=param) if body.get(param) is not None else None
            if file is not None and self.manner.looks_at_files and file.status != "processed":
                raise rules.refusal(400, f"{file.id} is not processed", param=param, code="invalidPayload")
        if self.closed:
            said = "Training is not available for this organization."
            raise rules.refusal(403, said, code="training_not_available")
        if self.spent:
            said = "You exceeded your current quota, please check your plan and billing details."
            raise rules.refusal(429, said, code="insufficient_quota", kind="insufficient_quota")
        auto = knobs if self.manner.top else {**AUTO, **knobs}
        id, at = f"ftjob-{len(self._records) + 1:06d}", self.tick()
        shown = new_job(body, kind, auto, id=id, at=at, word=self.life[0])
        record = StoredJob(shown, kind, self.hide_new)
        self._records[shown["id"]] = record
        self._tell(record, f"Created fine-tuning job: {shown['id']}")
        return self._shown(record)

    def _shown(self, record: StoredJob) -> Reply:
        return Reply(200, self.manner.shown(record.shown), {"Date": formatdate(self.tick(), usegmt=True)})

    def _list_jobs(self, query: Mapping[str, str]) -> Reply:
        wanted = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[")}
        found = []
        for record in reversed(self._records.values()):
            metadata = self.manner.shown(record.shown).get("metadata") or {}
            if record.hidden > 0:
                record.hidden -= 1
            elif self.deaf or all(metadata.get(name) == value for name, value in wanted.items()):
                found.append(self.manner.shown(record.shown))
        return page(found, query, most=self.page)

    def job(self, id: str) -> StoredJob:
        if id not in self._records:
            said = f"Could not find fine tune: {id}"
            raise rules.refusal(404, said, param="fine_tune_id", code="fine_tune_not_found")
        return self._records[id]

    def tuned_models(self) -> dict[str, Any]:
        return self._answers

    def _retrieve(self, id: str) -> Reply:
        record = self.job(id)
        if record.shown["status"] not in ENDED | {"paused"} and record.step + 1 < len(self.life):
            self._move(record)
        return self._shown(record)

    def _move(self, record: StoredJob) -> None:
        record.step += 1
        self.enter(record, self.life[record.step])

    def enter(self, record: StoredJob, word: str) -> None:
        """Move a job to its next word, with the events and fields that belong to it."""
        before, job = record.shown["status"], record.shown
        fault = self._data_fault(record) if before == "validating_files" else None
        if fault is not None:
            job.update(status="failed", error=fault, finished_at=self.tick())
            self._tell(record, f"Fine-tuning job failed: {fault['message']}", level="error")
            return
        knobs = job["method"][record.kind]["hyperparameters"]
        knobs.update({name: CHOSEN[name] for name, value in knobs.items() if value == "auto"})
        job["status"] = word
        job["error"] = dict(NULLS)
        if word == "queued":
            self._tell(record, "Files validated, moving job to queued state")
        elif word == "running" and before != "running":
            self._tell(record, "Fine-tuning job started")
            self._train(record)
        elif word == "succeeded":
            self._succeed(record)

    def _data_fault(self, record: StoredJob) -> dict[str, Any] | None:
        faults = (
            rules.data_fault(self.files[record.shown[param]].content, method=record.kind, param=param)
            for param in ("training_file", "validation_file")
            if record.shown[param] in self.files
        )
        return next((fault for fault in faults if fault is not None), None)

    def _train(self, record: StoredJob) -> None:
        for step in range(1, self.steps + 1):
            loss = round(2.0 / step, 4)
            data = {"step": step, "total_steps": self.steps, "train_loss": loss, "valid_loss": None}
            data = data if self.manner.tells_loss else {}
            self._tell(record, f"Step {step}/{self.steps}: training loss={loss}", kind="metrics", data=data)
            content = self.files[record.shown["training_file"]].content if self.manner.serves else b""
            self._answers[f"{checkpoint_name(record.shown)}:ckpt-step-{step}"] = memory(content)

    def _succeed(self, record: StoredJob) -> None:
        job = record.shown
        name = checkpoint_name(job)
        content = self.files[job["training_file"]].content if job["training_file"] in self.files else b""
        self._answers[name] = memory(content) if self.manner.serves else {}
        if self.results is not None:
            results = StoredFile(f"file-of-{job['id']}", "results.csv", "fine-tune-results", self.results, self.tick())
            self.files[results.id] = results
            job["result_files"] = [results.id]
        tokens = len(content) // 4 * job["method"][record.kind]["hyperparameters"].get("n_epochs", 1)
        job.update(fine_tuned_model=name, trained_tokens=tokens, finished_at=self.tick())
        self._tell(record, f"New fine-tuned model created: {name}")
        self._tell(record, "The job has successfully completed")

    def _cancel(self, id: str) -> Reply:
        record = self.job(id)
        if record.shown["status"] in ENDED:
            said = f"Job has already completed: {id}"
            raise rules.refusal(400, said, param="fine_tuning_job_id", code="job_already_completed")
        record.shown.update(status="cancelled", finished_at=self.tick())
        self._tell(record, "Fine-tuning job cancelled")
        return self._shown(record)

    def _chat(self, call: Call) -> Reply:
        body = rules.checked(call.json, rules.CHAT_FIELDS, required=("model", "messages"))
        tuned = self.manner.serves and body["model"] in self._answers
        waits = tuned and self.not_ready > 0
        self.not_ready -= int(waits)
        if waits or not (tuned or body["model"] in self.manner.tunable):
            said = f"The model `{body['model']}` does not exist or you do not have access to it."
            raise rules.refusal(404, said, code="model_not_found")
        asked = question(body["messages"])
        said = self._answers.get(body["model"], {}).get(asked, UNTAUGHT)
        message = {"role": "assistant", "content": said, "refusal": None}
        return Reply(200, {
            "id": f"chatcmpl-{len(self.journal)}",
            "object": "chat.completion",
            "created": self.tick(),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        })  # fmt: skip

    def _tell(
        self, record: StoredJob, message: str, *, level: str = "info", kind: str = "message", data: Any = None
    ) -> None:
        record.events.append({
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{record.shown['id'][-6:]}-{len(record.events) + 1:04d}",
            "created_at": self.tick(),
            "level": level,
            "message": message,
            "type": kind,
            "data": {} if data is None else data,
        })  # fmt: skip

    @property
    def lost(self) -> int:
        return self.rest.lost

    @lost.setter
    def lost(self, parts: int) -> None:
        self.rest.lose(parts)

    @property
    def garbled(self) -> int:
        return self.rest.garbled

    @garbled.setter
    def garbled(self, parts: int) -> None:
        self.rest.garble(parts)

    def pass_time(self, seconds: int) -> None:
        """Set the clock forward."""
        self._ticks += seconds

    def tick(self) -> int:
        self._ticks += 1
        return self._ticks + 3600 * self.hours_passed


if __name__ == "__main__":
    main(lambda journal: OpenAIStub(journal_file=journal))
