"""The storage behind Together's API: where bytes are put, whole or in parts, and where archives of models come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.stubs import _archives as archives
from tests.stubs import _together_rules as rules
from tests.stubs._call import Call, Reply
from tests.stubs._together_rest import StoredJob
from tests.stubs._together_rules import StoredFile

PATH = "/storage/"
PART_HEADER = "x-amz-stub-part"
INITIATE: dict[str, rules.Check] = {
    **rules.FORM_FIELDS,
    "file_size": lambda value: type(value) is int and value > 0,
    "num_parts": lambda value: type(value) is int and 1 <= value <= 250,
}
NAMED: dict[str, rules.Check] = dict.fromkeys(("upload_id", "file_id"), lambda value: isinstance(value, str))
COMPLETE: dict[str, rules.Check] = {**NAMED, "parts": lambda value: isinstance(value, list)}
DOWNLOAD = {"ft_id", "checkpoint", "checkpoint_step"}


class Host(Protocol):
    """Be the stand-in that this belongs to."""

    files: dict[str, StoredFile]
    origin: str
    storage: str

    def job(self, id: str) -> StoredJob: ...
    def file(self, id: str, *, status: int = 404) -> StoredFile: ...
    def reserved(self, form: dict[str, str]) -> StoredFile | Reply: ...
    def look(self, file: StoredFile) -> Reply: ...


@dataclass
class Multipart:
    """Be an upload in parts that was begun."""

    file: StoredFile
    size: int
    count: int
    parts: dict[int, bytes] = field(default_factory=dict)


class Storage:
    """Keep what was put, and hand archives out.

    - `models`: the archive for each word (`adapter`, `merged`, `model_output_path`)
    - `version`: their ETag, None for none
    - `away`: an archive is handed out by the storage, to which the API redirects
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.begun: dict[str, Multipart] = {}
        self.models = {word: archives.archive(archives.merged()) for word in ("merged", "model_output_path")}
        self.models["adapter"] = archives.archive(archives.adapter())
        self.version: str | None = "1"
        self.away = False

    def answer(self, call: Call) -> Reply:
        """Answer what came to the storage itself: without a key, by a signed address."""
        if "authorization" in call.headers:
            raise rules.refusal(400, "only one auth mechanism is allowed: the key must not come here")
        if call.query.get("signature") != "stub":
            raise rules.refusal(403, "SignatureDoesNotMatch")
        match call.method, call.path.removeprefix(PATH).split("/"):
            case "GET", ["models", word]:
                return self._ranged(call, self.models[word])
            case "PUT", ["parts", upload, number] if upload in self.begun:
                return self._part(call, self.begun[upload], int(number))
            case "PUT", [id] if id in self.host.files:
                return self._whole(call, self.host.files[id])
        raise rules.refusal(403, "SignatureDoesNotMatch")

    def _whole(self, call: Call, file: StoredFile) -> Reply:
        if "content-length" not in call.headers:
            raise rules.refusal(411, "MissingContentLength")
        if hashlib.sha256(call.body).hexdigest() != file.checksum:
            raise rules.refusal(400, "BadDigest")
        file.content = call.body
        return Reply(200, b"")

    def _part(self, call: Call, begun: Multipart, number: int) -> Reply:
        if "content-length" not in call.headers:
            raise rules.refusal(411, "MissingContentLength")
        if call.headers.get(PART_HEADER) != str(number):
            raise rules.refusal(403, "SignatureDoesNotMatch: a header that was signed is missing")
        begun.parts[number] = call.body
        return Reply(200, b"", {"ETag": f'"{_etag(call.body)}"'})

    def multipart(self, act: str, body: Any) -> Reply:
        """Begin, complete or abort an upload in parts."""
        if act == "initiate":
            return self._initiate(rules.checked(body, INITIATE, required=tuple(INITIATE)))
        fields = COMPLETE if act == "complete" else NAMED
        asked = rules.checked(body, fields, required=tuple(fields))
        begun = self.begun.get(asked["upload_id"])
        if begun is None or begun.file.id != asked["file_id"]:
            raise rules.refusal(404, "NoSuchUpload")
        if act == "complete":
            self._complete(begun, asked["parts"])
        del self.begun[asked["upload_id"]]
        return Reply(200, {"file": begun.file.shown()} if act == "complete" else {})

    def _initiate(self, asked: dict[str, Any]) -> Reply:
        file = self.host.reserved(asked)
        if isinstance(file, Reply):
            return file
        upload = f"upload-{file.id}"
        self.begun[upload] = Multipart(file, asked["file_size"], asked["num_parts"])
        where = f"{self.host.storage or self.host.origin}{PATH}parts/{upload}"
        parts = [
            {"PartNumber": n, "URL": f"{where}/{n}?signature=stub", "Headers": {PART_HEADER: str(n)}}
            for n in range(1, asked["num_parts"] + 1)
        ]
        return Reply(200, {"upload_id": upload, "file_id": file.id, "parts": parts})

    def _complete(self, begun: Multipart, told: list[Any]) -> None:
        wanted = [{"part_number": n, "etag": _etag(begun.parts.get(n, b""))} for n in range(1, begun.count + 1)]
        if told != wanted or len(begun.parts) != begun.count:
            raise rules.refusal(400, "InvalidPart")
        content = b"".join(begun.parts[n] for n in sorted(begun.parts))
        if len(content) != begun.size or hashlib.sha256(content).hexdigest() != begun.file.checksum:
            raise rules.refusal(400, "BadDigest")
        begun.file.content = content

    def download(self, call: Call) -> Reply:
        """Hand a finished model out: the archive itself, or a way to it."""
        if set(call.query) - DOWNLOAD or "ft_id" not in call.query:
            raise rules.refusal(400, "unknown or missing parameter")
        job, word = self.host.job(call.query["ft_id"]).shown, call.query.get("checkpoint", "")
        if job["status"] != "completed":
            raise rules.refusal(400, "the job is not completed")
        full = job.get("training_type", {}).get("type") == "Full"
        named = word != "model_output_path" and "checkpoint_step" not in call.query
        if (word == "model_output_path") != full and named:
            raise rules.refusal(400, f"checkpoint {word!r} does not fit the training type", param="checkpoint")
        word = self._at_step(call.query.get("checkpoint_step", "0"), self.host.job(call.query["ft_id"])) or word
        if word not in self.models:
            raise rules.refusal(404, f"there is no {word!r} of this job")
        if self.away:
            where = f"{self.host.storage or self.host.origin}{PATH}models/{word}?signature=stub"
            return Reply(302, b"", {"Location": where})
        return self._ranged(call, self.models[word])

    def _at_step(self, step: str, record: Any) -> str:
        """Return the form in which a step is handed out, whatever else is asked for; nothing where it is the last."""
        kept = [event["step"] for event in record.events if event["type"] == "checkpoint_save"]
        if int(step) in {0, *kept[-1:]}:
            return ""
        return "adapter" if int(step) in kept else f"step {step}"

    def _ranged(self, call: Call, content: bytes) -> Reply:
        headers = {"ETag": f'"{self.version}"'} if self.version is not None else {}
        asked = call.headers.get("range")
        if asked is None:
            return Reply(200, content, headers)
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            return Reply(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        end = min(int(asked.partition("-")[2] or len(content)), len(content) - 1)
        told = f"bytes {start}-{end}/{len(content)}"
        return Reply(206, content[start : end + 1], {**headers, "Content-Range": told})


def _etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
