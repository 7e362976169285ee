"""The stand-in's repositories: files by path, large ones in a storage of their own with signed addresses."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.stubs import _hub_rules as rules
from tests.stubs._call import Call, Reply

STORAGE = "/storage/"
CACHED = "/api/resolve-cache/"


@dataclass
class Repository:
    """Be one repository: of a dataset by its name, of a model by `models/` and its name."""

    name: str
    private: bool
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    large: set[str] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)

    def entry(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        shown: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": rules.git_hash(content)}
        if path in self.large:
            shown["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return shown


class Shelf:
    """Answer what is asked of repositories and of the storage behind them."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.expected: dict[str, int] = {}

    def create(self, body: Any) -> Reply:
        wanted = rules.checked(body, rules.REPOSITORY, required=("name", "visibility"))  # without a type it is a model
        kind = "" if wanted.get("type") == "dataset" else "models/"
        name = f"{kind}{wanted.get('organization', self.stub.namespace)}/{wanted['name']}"
        if name in self.repositories:
            raise rules.refusal(409, "You already created this repo")
        self.repositories[name] = Repository(name, private=wanted["visibility"] == "private")
        return Reply(200, {"url": f"{self.stub.origin}/{name}", "name": name, "id": "1"})

    def repository(self, name: str) -> Repository:
        if name not in self.repositories:
            raise rules.refusal(404, "Repository not found", code="RepoNotFound")
        return self.repositories[name]

    def answer(self, method: str, name: str, verb: list[str], call: Call) -> Reply:
        found = self.repository(name)
        match method, verb:
            case "GET", [] | ["revision", "main"]:
                shown = {"id": name, "private": found.private, "sha": f"{len(found.commits):040d}"}
                return Reply(200, {**shown, "siblings": [{"rfilename": path} for path in found.files]})
            case "POST", ["paths-info", "main"]:
                asked = [value for key, value in parse_qsl(call.body.decode()) if key == "paths"]
                return Reply(200, [found.entry(path) for path in asked if path in found.files])
            case "POST", ["preupload", "main"]:
                return self._sorted(found, call.json)
            case "POST", ["commit", "main"]:
                return self._commit(found, call.body)
            case "GET", ["tree", "main", *folder]:
                return self._tree(found, "/".join(folder))
        raise rules.refusal(404, f"no such endpoint: {call.route}")

    def _sorted(self, found: Repository, body: Any) -> Reply:
        files = rules.checked(body, {"files": lambda value: isinstance(value, list)}, required=("files",))["files"]
        return Reply(200, {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if self._is_large(file["path"], file["size"]) else "regular",
                    "shouldIgnore": False,
                    "oid": self._oid(found, file["path"]),
                }
                for file in files
            ]
        })  # fmt: skip

    def _is_large(self, path: str, size: int) -> bool:
        return path.endswith((".safetensors", ".zip")) or size > self.stub.large_from

    def _oid(self, found: Repository, path: str) -> str | None:
        if path not in found.files:
            return None
        entry = found.entry(path)
        return str(entry["lfs"]["oid"] if "lfs" in entry else entry["oid"])

    def batch(self, name: str, body: Any) -> Reply:
        self.repository(name)
        if body.get("operation") != "upload" or body.get("hash_algo") != "sha256" or "basic" not in body["transfers"]:
            raise rules.refusal(422, "not a batch of uploads")
        return Reply(200, {"transfer": "basic", "objects": [self._placed(name, item) for item in body["objects"]]})

    def _placed(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        oid, size = item["oid"], item["size"]
        if oid in self.storage:
            return {"oid": oid, "size": size}
        self.expected[oid] = size
        upload = {"href": f"{self.stub.warehouse}{STORAGE}{oid}?signature=write"}
        verify = {"href": f"{self.stub.verifier or self.stub.origin}/api/{_kind(name)}/lfs/verify"}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    def verify(self, body: dict[str, Any]) -> Reply:
        if len(self.storage.get(body["oid"], b"")) != body["size"]:
            raise rules.refusal(422, "the object is not there")
        return Reply(200, {})

    def _commit(self, found: Repository, body: bytes) -> Reply:
        lines = [json.loads(line) for line in body.splitlines()]
        if [line["key"] for line in lines].count("header") != 1 or lines[0]["key"] != "header":
            raise rules.refusal(400, "the first line must be the header")
        for line in lines[1:]:
            self._write(found, line["key"], line["value"])
        found.commits.append(lines[0]["value"]["summary"])
        oid = f"{len(found.commits):040d}"
        return Reply(
            200,
            {"success": True, "commitOid": oid, "commitUrl": f"{self.stub.origin}/{found.name}/commit/{oid}"},
        )

    def _write(self, found: Repository, key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if rules.PATH.fullmatch(path) is None:
            raise rules.refusal(400, f"not a path: {path}")
        if key == "file":
            found.files[path] = base64.b64decode(value["content"])
            found.large.discard(path)
        elif key == "lfsFile":
            if len(self.storage.get(value["oid"], b"")) != value["size"]:
                raise rules.refusal(400, f"LFS object {value['oid']} is not there")
            found.files[path] = self.storage[value["oid"]]
            found.large.add(path)
        elif key == "deletedFolder":
            gone = [name for name in found.files if name.startswith(f"{path.rstrip('/')}/")]
            if not gone:
                raise rules.refusal(404, "A file with this name doesn't exist", code="EntryNotFound")
            for name in gone:
                del found.files[name]
        else:
            raise rules.refusal(400, f"unknown operation: {key}")

    def _tree(self, found: Repository, folder: str) -> Reply:
        below = sorted(path for path in found.files if path.startswith(f"{folder}/"))
        if not below:
            raise rules.refusal(404, f"{folder} does not exist on main", code="EntryNotFound")
        folders = {path[: path.index("/", len(folder) + 1)] for path in below if "/" in path[len(folder) + 1 :]}
        shown = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        return Reply(200, [*shown, *(found.entry(path) for path in below)])

    def resolve(self, name: str, path: str) -> Reply:
        """Send a reader on: within the Hub for a small file, to the storage for a large one."""
        found = self.repository(name)
        if path not in found.files:
            raise rules.refusal(404, "Entry not found", code="EntryNotFound")
        content = found.files[path]
        headers = {"X-Repo-Commit": f"{len(found.commits):040d}", "X-Linked-Size": str(len(content))}
        if path not in found.large:
            told = {**headers, "ETag": f'"{rules.git_hash(content)}"'}
            return Reply(307, b"", {**told, "Location": f"{CACHED}{name}/{path}"})
        oid = hashlib.sha256(content).hexdigest()
        told = {**headers, "X-Linked-Etag": f'"{oid}"'}
        return Reply(302, b"", {**told, "Location": f"{self.stub.warehouse}{STORAGE}{oid}?signature=read"})

    def store(self, call: Call) -> Reply:
        """Take or give bytes by a signed address."""
        oid = call.path.removeprefix(STORAGE)
        if "authorization" in call.headers:
            raise rules.refusal(400, "only one auth mechanism is allowed: the key must not come here")
        if call.method == "GET" and call.query.get("signature") == "read":
            return ranged(self.storage[oid], call)
        if call.method != "PUT" or call.query.get("signature") != "write" or oid not in self.expected:
            raise rules.refusal(403, "SignatureDoesNotMatch")
        if "content-length" not in call.headers:
            raise rules.refusal(411, "MissingContentLength")
        if hashlib.sha256(call.body).hexdigest() != oid or len(call.body) != self.expected[oid]:
            raise rules.refusal(400, "BadDigest")
        self.storage[oid] = call.body
        return Reply(200, b"", {"ETag": f'"{oid[:16]}"'})


def ranged(content: bytes, call: Call) -> Reply:
    """Give bytes, from where they are asked for."""
    asked = call.headers.get("range")
    if asked is None:
        return Reply(200, content)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(content):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
    return Reply(206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"})


def _kind(name: str) -> str:
    return name if name.startswith("models/") else f"datasets/{name}"
