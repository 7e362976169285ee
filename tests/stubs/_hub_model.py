"""The stand-in's base models: folders on this disk, read as the Hub gives models out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tests.stubs import _hub_rules as rules
from tests.stubs._call import Reply

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def folder_of(models: Mapping[str, Path], parts: list[str]) -> tuple[Path, list[str], str] | None:
    """Find which model a path is about: its folder, what is asked of it, and its name."""
    bare = parts[2:] if parts[:2] == ["api", "models"] else parts
    name, rest = "/".join(bare[:2]), bare[2:]
    return (models[name], rest, name) if name in models else None


def answer(method: str, folder: Path, rest: list[str], name: str) -> Reply:
    """Give out one file of a model, or tell of them."""
    match method, rest:
        case (("GET" | "HEAD"), ["resolve", _, *path]):
            return _file(method, folder / "/".join(path))
        case "GET", [] | ["revision", _]:
            return Reply(200, {"id": name, "sha": COMMIT, "private": False, "siblings": [], "tags": []})
        case "GET", ["tree", _]:
            return Reply(200, [_entry(path) for path in sorted(folder.iterdir()) if path.is_file()])
    raise rules.refusal(404, f"no such entry: {'/'.join(rest)}", code="EntryNotFound")


def _entry(path: Path) -> dict[str, object]:
    return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": rules.git_hash(path.read_bytes())}


def _file(method: str, path: Path) -> Reply:
    headers = {"X-Repo-Commit": COMMIT}
    if not path.is_file():
        told = {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
        return Reply(404, b"" if method == "HEAD" else {"error": "Entry not found"}, told)
    content = path.read_bytes()
    headers |= {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Content-Length": str(len(content))}
    return Reply(200, b"" if method == "HEAD" else content, headers)
