"""Stand-ins for the vendors' own test suites, which ask about things that were never made.

The suites hold fixed ids and values of no meaning against a server that keeps nothing. So before each call these make
what it asks about, and put sense in place of the values below; all else is answered as strictly as ever.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.stubs import _together_rules as together_rules
from tests.stubs._call import Call, Reply
from tests.stubs._openai_rest import Upload
from tests.stubs._openai_rules import TUNABLE
from tests.stubs._openai_store import AUTO, StoredFile, StoredJob, new_job
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

KEY = "My API Key"
CONCESSIONS = {
    "ids": "every id of a path or a body exists, in the state that the call needs",
    "after": "the cursor of the suites is the id of nothing: left out",
    "model": "gpt-4o-mini and model cannot be tuned under these names: a model that can is put there",
    "method": "the suites describe all methods at once: those not named by the type are left out, and so are the"
    " hyperparameters of the old way, beside a method",
    "md5": "the checksum is a word: left out",
    "key": "the SDK sends its plain key where the service wants an admin's: it is taken for one",
    "paused": "the SDK's strict check does not know the word that a paused job has: running in its place",
    "healthy error": "null in place of {}: the SDK's strict check takes no other",
    "training type": "full and no adapter, of 0 epochs, from a checkpoint that is none: 1 epoch, no checkpoint",
}
LINE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
STATE = {"cancel": "running", "pause": "running", "resume": "paused"}


class OpenAIPlaceholders(OpenAIStub):
    """Answer openai's suite."""

    prefix = ""

    def __init__(self) -> None:
        super().__init__(key=KEY)
        self.admin_key = KEY

    def answer(self, call: Call) -> Reply:
        call.query.pop("after", None)
        match call.method, call.path.strip("/").split("/"):
            case _, ["files", id, *_]:
                self._file_is(id)
            case "POST", ["fine_tuning", "jobs"]:
                self._mend_job(call)
            case _, ["fine_tuning", "jobs", id, *act]:
                self._job_is(id, STATE.get("".join(act), "succeeded"))
            case _, ["uploads", id, act]:
                self._upload_is(id, act, call)
            case "DELETE", ["fine_tuning", "checkpoints", checkpoint, "permissions", id]:
                item = {"id": id, "object": "checkpoint.permission", "created_at": 1, "project_id": "p"}
                self.rest.permissions.setdefault(checkpoint, {})[id] = item
            case _, ["models", name]:
                self._answers.setdefault(name, {})
        return _strict(super().answer(call))

    def _file_is(self, id: str) -> None:
        self.files[id] = StoredFile(id, "train.jsonl", "fine-tune", LINE * 12, self.tick())

    def _mend_job(self, call: Call) -> None:
        body = call.json
        body["model"] = next(iter(TUNABLE)) if body.get("model") not in TUNABLE else body["model"]
        for param in ("training_file", "validation_file"):
            if body.get(param):
                self._file_is(body[param])
        if "method" in body:
            kind = body["method"]["type"]
            body["method"] = {"type": kind, kind: body["method"].get(kind, {})}
            body.pop("hyperparameters", None)
        call.body = json.dumps(body).encode()

    def _job_is(self, id: str, status: str) -> None:
        self._file_is("file-of-the-job")
        body = {"model": next(iter(TUNABLE)), "training_file": "file-of-the-job"}
        shown = new_job(body, "supervised", dict(AUTO), id=id, at=self.tick(), word=status)
        record = StoredJob(shown, "supervised", 0)
        self._records[id] = record
        self._tell(record, "Created")
        if status == "succeeded":
            self.enter(record, status)

    def _upload_is(self, id: str, act: str, call: Call) -> None:
        shown = {"id": id, "object": "upload", "status": "pending", "filename": "a", "purpose": "assistants"}
        upload = Upload({**shown, "bytes": 0, "created_at": self.tick(), "expires_at": self.tick() + 3600})
        self.rest.uploads[id] = upload
        if act == "complete":
            body = call.json
            upload.parts = dict.fromkeys(body["part_ids"], b"")
            body.pop("md5", None)
            call.body = json.dumps(body).encode()


def _strict(reply: Reply) -> Reply:
    """Say of jobs what the SDK's strict check takes."""

    def mended(item: Any) -> Any:
        if not isinstance(item, dict) or item.get("object") != "fine_tuning.job":
            return item
        status = "running" if item["status"] == "paused" else item["status"]
        return {**item, "error": item["error"] if any((item["error"] or {}).values()) else None, "status": status}

    body = reply.body
    if isinstance(body, dict) and isinstance(body.get("data"), list):
        body = {**body, "data": [mended(item) for item in body["data"]]}
    return Reply(reply.status, mended(body), reply.headers)


class TogetherPlaceholders(TogetherStub):
    """Answer together's suite."""

    def __init__(self) -> None:
        super().__init__(key=KEY)

    def answer(self, call: Call) -> Reply:
        match call.method, call.path.strip("/").split("/"):
            case _, ["v1", "files", id, *_]:
                self._file_is(id)
            case "POST", ["v1", "fine-tunes", "estimate-price" | "preview"]:
                self._mend_body(call)
            case "GET", ["v1", "fine-tunes", "models", "limits"]:
                call.query["model_name"] = next(iter(together_rules.TUNABLE))
            case "POST" | "GET" | "DELETE", ["v1", "fine-tunes", id, *act]:
                self._job_is(id, STATE.get("".join(act), "completed"))
        return super().answer(call)

    def _file_is(self, id: str) -> None:
        held = self.hold(LINE * 12)
        self.files[id] = replace(self.files.pop(held), id=id)

    def _job_is(self, id: str, status: str) -> None:
        self._file_is("file-of-the-job")
        job = self._create({"model": next(iter(together_rules.TUNABLE)), "training_file": "file-of-the-job"}).body
        record = self._records.pop(job["id"])
        record.shown["id"] = id
        self._records[id] = record
        self.enter(record, "running")
        if status != "running":
            self.enter(record, status)

    def _mend_body(self, call: Call) -> None:
        body = call.json
        body["model"] = next(iter(together_rules.TUNABLE))
        for param in ("training_file", "validation_file"):
            if param in body:
                self._file_is(body[param])
        if "n_epochs" in body:
            body["n_epochs"] = 1
        body.pop("from_checkpoint", None)
        call.body = json.dumps(body).encode()
