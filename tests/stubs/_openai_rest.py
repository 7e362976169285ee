"""What OpenAI offers beside the way of a job: checkpoints, pauses, uploads in parts, models, permissions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.stubs import _openai_rules as rules
from tests.stubs._call import Call, Reply, multipart
from tests.stubs._openai_manners import Manner
from tests.stubs._openai_store import StoredFile, StoredJob, page

HOUR = 3600
KEPT = 3  # checkpoints of a job
PART = 64 * 1024 * 1024
UPLOAD_FIELDS: dict[str, rules.Check] = {
    "filename": rules.text(256),
    "purpose": lambda value: value in rules.PURPOSES,
    "bytes": rules.whole(0, 8 * 1024**3),
    "mime_type": rules.text(256),
    "expires_after": lambda value: isinstance(value, dict) and rules.expires(value),
}
COMPLETE_FIELDS: dict[str, rules.Check] = {
    "part_ids": lambda value: isinstance(value, list) and all(isinstance(id, str) for id in value),
    "md5": rules.text(64),
}
GRANT_FIELDS: dict[str, rules.Check] = {
    "project_ids": lambda value: isinstance(value, list) and all(isinstance(id, str) for id in value)
}


class Host(Protocol):
    """Be the stand-in that this belongs to."""

    files: dict[str, StoredFile]
    key: str
    admin_key: str
    manner: Manner
    strict_parts: bool

    def job(self, id: str) -> StoredJob: ...
    def enter(self, record: StoredJob, word: str) -> None: ...
    def tick(self) -> int: ...
    def tuned_models(self) -> dict[str, Any]: ...


@dataclass
class Upload:
    """Be an upload in parts: what was announced, and the parts that came."""

    shown: dict[str, Any]
    parts: dict[str, bytes] = field(default_factory=dict, repr=False)


class Rest:
    """Answer what is asked beside the way of a job."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.uploads: dict[str, Upload] = {}
        self.lost = self.garbled = 0
        self.permissions: dict[str, dict[str, dict[str, Any]]] = {}

    def answer(self, call: Call, way: list[str]) -> Reply:
        match call.method, way:
            case "GET", ["fine_tuning", "jobs", id, "checkpoints"]:
                return ends(checkpoints(self.host.job(id), tells=self.host.manner.names_model), call.query, limit=10)
            case "POST", ["fine_tuning", "jobs", id, "pause" | "resume" as act]:
                return self._turn(self.host.job(id), act)
            case method, ["uploads", *rest]:
                return self._upload(method, rest, call)
            case method, ["models", *rest]:
                return self._models(method, rest)
            case method, ["fine_tuning", "checkpoints", checkpoint, "permissions", *rest]:
                return self._permissions(method, checkpoint, rest, call)
        raise rules.refusal(404, f"Invalid URL ({call.route})")

    def _turn(self, record: StoredJob, act: str) -> Reply:
        wanted, word = {"pause": ({"queued", "running"}, "paused"), "resume": ({"paused"}, "queued")}[act]
        if record.shown["status"] not in wanted:
            said = f"Job cannot be {word} while it is {record.shown['status']}"
            raise rules.refusal(400, said, param="fine_tuning_job_id")
        self.host.enter(record, word)
        return Reply(200, self.host.manner.shown(record.shown))

    def _upload(self, method: str, rest: list[str], call: Call) -> Reply:
        match method, rest:
            case "POST", []:
                return self._announce(rules.checked(call.json, UPLOAD_FIELDS, required=tuple(UPLOAD_FIELDS)[:4]))
            case "POST", [id, "parts"]:
                return self._part(self._pending(id), call)
            case "POST", [id, "complete"]:
                body = rules.checked(call.json, COMPLETE_FIELDS, required=("part_ids",))
                return self._complete(self._pending(id), body)
            case "POST", [id, "cancel"]:
                upload = self._pending(id)
                upload.shown["status"] = "cancelled"
                return Reply(200, dict(upload.shown))
        raise rules.refusal(404, f"Invalid URL ({call.route})")

    def _announce(self, body: dict[str, Any]) -> Reply:
        now = self.host.tick()
        shown = {name: body[name] for name in ("filename", "purpose", "bytes")}
        shown |= {"id": f"upload_{now}", "object": "upload", "status": "pending"}
        shown |= {"created_at": now, "expires_at": now + HOUR}
        self.uploads[shown["id"]] = Upload(shown)
        return Reply(200, dict(shown))

    def _pending(self, id: str) -> Upload:
        if id not in self.uploads:
            raise rules.refusal(404, f"No such Upload object: {id}", param="upload_id")
        shown = self.uploads[id].shown
        if shown["status"] == "pending" and self.host.tick() > shown["expires_at"]:
            shown["status"] = "expired"
        if shown["status"] != "pending":
            raise rules.refusal(400, f"Upload is {shown['status']}", param="upload_id")
        return self.uploads[id]

    def _part(self, upload: Upload, call: Call) -> Reply:
        parts = multipart(call)
        if set(parts) != {"data"} or len(parts["data"][1]) > PART:
            raise rules.refusal(400, "'data' of at most 64 MB is required", param="data")
        now = self.host.tick()
        upload.parts[f"part_{now}"] = parts["data"][1]
        part = {"id": f"part_{now}", "object": "upload.part", "created_at": now, "upload_id": upload.shown["id"]}
        return Reply(200, part)

    def _complete(self, upload: Upload, body: dict[str, Any]) -> Reply:
        listed, there = set(body["part_ids"]), set(upload.parts)
        if not listed <= there or (self.host.strict_parts and listed != there):
            raise rules.refusal(400, "The part ids are not those of the upload", param="part_ids")
        content = b"".join(upload.parts[id] for id in body["part_ids"])
        if len(content) != upload.shown["bytes"]:
            raise rules.refusal(400, "The bytes are not as many as were announced", param="part_ids")
        if "md5" in body and hashlib.md5(content).hexdigest() != body["md5"]:
            raise rules.refusal(400, "The checksum does not match", param="md5")
        now = self.host.tick()
        file = StoredFile(f"file-{now}", upload.shown["filename"], upload.shown["purpose"], content, now)
        self.host.files[file.id] = file
        upload.shown.update(status="completed", file=file.shown())
        return Reply(200, dict(upload.shown))

    def lose(self, parts: int) -> None:
        """Forget so many of the parts that came; with the last one an upload itself is forgotten."""
        self.lost = parts
        for id, upload in list(self.uploads.items()):
            for part in list(upload.parts)[:parts]:
                del upload.parts[part]
            if not upload.parts:
                del self.uploads[id]

    def garble(self, parts: int) -> None:
        """Spoil a byte in so many of the parts that came."""
        self.garbled = parts
        for upload in self.uploads.values():
            for part in list(upload.parts)[:parts]:
                upload.parts[part] = b"!" + upload.parts[part][1:]

    def _models(self, method: str, rest: list[str]) -> Reply:
        tuned = self.host.tuned_models()
        known = {**dict.fromkeys(self.host.manner.tunable, "system"), **dict.fromkeys(tuned, "org-stub")}
        if method == "GET" and not rest:
            return Reply(200, {"object": "list", "data": [model(name, owner) for name, owner in known.items()]})
        if len(rest) != 1 or rest[0] not in known:
            raise rules.refusal(404, "The model does not exist", param="model", code="model_not_found")
        if method == "GET":
            return Reply(200, model(rest[0], known[rest[0]]))
        if method != "DELETE" or rest[0] not in tuned:
            raise rules.refusal(403, "Only models that you own can be deleted", param="model")
        del tuned[rest[0]]
        return Reply(200, {"id": rest[0], "object": "model", "deleted": True})

    def _permissions(self, method: str, checkpoint: str, rest: list[str], call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {self.host.admin_key}":
            raise rules.refusal(401, "An admin key is needed", code="invalid_api_key")
        held = self.permissions.setdefault(checkpoint, {})
        match method, rest:
            case "GET", []:
                project = call.query.get("project_id")
                newest = [item for item in reversed(held.values()) if project in (None, item["project_id"])]
                return ends(newest[::-1] if call.query.get("order") == "ascending" else newest, call.query, limit=10)
            case "POST", []:
                body = rules.checked(call.json, GRANT_FIELDS, required=("project_ids",))
                return ends([self._grant(held, project) for project in body["project_ids"]], {}, limit=100)
            case "DELETE", [id] if id in held:
                del held[id]
                return Reply(200, {"id": id, "object": "checkpoint.permission", "deleted": True})
        raise rules.refusal(404, "No such permission", param="permission_id")

    def _grant(self, held: dict[str, dict[str, Any]], project: str) -> dict[str, Any]:
        now = self.host.tick()
        item = {"id": f"cp_{now}", "object": "checkpoint.permission", "created_at": now, "project_id": project}
        held[item["id"]] = item
        return item


def ends(items: list[dict[str, Any]], query: Mapping[str, str], *, limit: int) -> Reply:
    """Make a page that names its first and its last."""
    reply = page(items, query, limit=limit)
    shown = reply.body["data"]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return Reply(200, {**reply.body, "first_id": first, "last_id": last})


def checkpoints(record: StoredJob, *, tells: bool) -> list[dict[str, Any]]:
    """Show the last three of a job that has trained, newest first; the last of one that succeeded is its model."""
    job, at = record.shown, [event["created_at"] for event in record.events if event["type"] == "metrics"]
    done = job["status"] == "succeeded" and bool(job["fine_tuned_model"])
    at = at or ([job["finished_at"]] * KEPT if done else [])  # of one that was running from its first word on
    shown = [
        _checkpoint(job, step, last=done and step == len(at), made=made, tells=tells) for step, made in enumerate(at, 1)
    ]
    return shown[: -KEPT - 1 : -1]


def _checkpoint(job: Mapping[str, Any], step: int, *, last: bool, made: int, tells: bool) -> dict[str, Any]:
    ways = job.get("checkpoint_files", {})
    files = ways.get(step) if isinstance(ways, dict) else ways if last else None
    name = job["fine_tuned_model"] if last else f"{checkpoint_name(job)}:ckpt-step-{step}"
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftckpt_{job['id']}" if last else f"ftckpt_{job['id']}_{step}",
        "created_at": made,
        **({"fine_tuned_model_checkpoint": name} if tells else {}),
        "fine_tuning_job_id": job["id"],
        "metrics": {"step": step, "train_loss": round(1.5 / step, 4)},
        "step_number": step,
        **({"result_files": files} if files else {}),
    }


def checkpoint_name(job: Mapping[str, Any]) -> str:
    """Name a job's models before their own part."""
    return f"ft:{job['model']}:stub-org:{job['user_provided_suffix'] or ''}:{job['id'][-6:]}"


def model(name: str, owner: str) -> dict[str, Any]:
    """Show a model."""
    ends = "2027-01-14" if owner == "system" else None
    return {"id": name, "object": "model", "created": 1_790_000_000, "owned_by": owner, "shutdown_date": ends}
