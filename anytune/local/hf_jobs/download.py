"""Bring a tuned model home: each file checked by size and hash, gone on with where an earlier call was cut off."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from anytune.errors import AmbiguousError, MalformedAnswerError, UnavailableError
from anytune.local.elsewhere.model import checked_name, require_kind
from anytune.local.hf_jobs.gateway import Hub
from anytune.local.hf_jobs.request import NAME
from anytune.providers import _download as download_of
from anytune.providers import _manifest
from anytune.schema.model import TunedModel

ACT = download_of.ACT
PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
ADDRESS = re.compile(f"hf://datasets/({PART}/{PART})/(jobs/{PART}/model)")


def download(hub: Hub, tuned: TunedModel, *, repository: str, folder: str, to: str, out: Path) -> dict[str, Any]:
    """Write all files and a manifest into `out`, all or nothing; what is half there stays aside for the next call."""
    out = download_of.free_folder(out)
    aside = download_of.aside(out, tuned.name)
    entries = {
        checked_name(entry.path.removeprefix(f"{folder}/"), provider=NAME): entry
        for entry in hub.listed(repository, folder, act=ACT)
    }
    if not any(name.endswith(".safetensors") for name in entries):
        raise MalformedAnswerError(f"{NAME}: {ACT}: there are no weights under {tuned.name}")
    require_kind(to, has_adapter="adapter_config.json" in entries, provider=NAME)
    with download_of.on_disk(out):
        aside.mkdir(parents=True, exist_ok=True)
        for name, entry in sorted(entries.items()):
            fetch(hub, repository, entry, aside / name)
        manifest = _manifest.write(
            aside, tuned, kind=to, files={name: _manifest.hash_of(aside / name) for name in entries}
        )
        download_of.settle(aside, out)
    return manifest


def fetch(hub: Hub, repository: str, entry: Any, path: Path) -> None:
    """Bring one file that was listed; `.part` beside it grows from call to call until it is whole and checked."""
    if path.is_file():
        return
    version = (entry.lfs.sha256 if entry.lfs is not None else entry.blob_id)[:16]
    part = path.with_name(f".{path.name}.{version}.part")
    have = part.stat().st_size if part.exists() else 0
    if have < entry.size or not part.exists():
        _grow(hub, repository, entry, part, have=have)
    require_same(entry, part)
    os.rename(part, path)


def _grow(hub: Hub, repository: str, entry: Any, part: Path, *, have: int) -> None:
    try:
        with hub.connected(ACT), hub.opened(repository, entry.path, act=ACT, start=have) as answer:
            if answer is None:
                raise MalformedAnswerError(f"{NAME}: {ACT}: {entry.path} is listed and not there")
            _write(answer, part, have=have, most=entry.size)
    except AmbiguousError as error:  # what was read so far stays, and nothing was done there
        raise UnavailableError(error.message, fix="run it again: it goes on from there") from error
    size = part.stat().st_size
    if size < entry.size:
        said = f"{NAME}: {ACT}: cut off after {size} of {entry.size} bytes of {entry.path}"
        raise UnavailableError(said, fix="run it again: it goes on from there")


def _write(answer: Any, part: Path, *, have: int, most: int) -> None:
    begins = answer.headers.get("content-range", "").startswith(f"bytes {have}-")
    with part.open("ab" if have and answer.status_code == 206 and begins else "wb") as target:
        for chunk in answer.iter_raw():
            target.write(chunk)
            if target.tell() > most:
                return  # not the file that was listed, and no reason to fill the disk with it


def require_same(entry: Any, path: Path) -> None:
    """Raise `UnavailableError`, and throw the file away, when it is not the one that the Hub lists."""
    if path.stat().st_size == entry.size:
        if entry.lfs is not None and entry.lfs.sha256 == _manifest.hash_of(path):
            return
        if entry.lfs is None and entry.blob_id == git_hash(path):
            return
    path.unlink()
    raise UnavailableError(f"{NAME}: {ACT}: {entry.path} is not what the Hub says it is", fix="run it again")


def git_hash(path: Path) -> str:
    """Return the hash by which git knows a file."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
