"""Bring a tuned model home: each file by its signed address, gone on with where an earlier call was cut off."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from anytune.errors import RejectedError, UnavailableError, UsageError
from anytune.providers import _download as download_of
from anytune.providers import _storage as storage
from anytune.providers.edge import bounded_client
from anytune.schema.model import TunedModel

NAME, ACT = "fireworks", download_of.ACT
SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
MANIFEST = "manifest.json"

free_folder = download_of.free_folder


def download(urls: Mapping[str, str], tuned: TunedModel, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write all files and a manifest into `out`, all or nothing; what is half there stays aside for the next call."""
    aside = download_of.aside(out, tuned.name)
    places = {name: aside.joinpath(*_parts(name)) for name in urls}
    try:
        for name, path in sorted(places.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch(urls[name], path, seconds=seconds)
        manifest = {
            "kind": "adapter",
            "base": tuned.base,
            "model": tuned.name,
            "job_id": tuned.job_id,
            "files": {name: _hash(path, "sha256").hex() for name, path in sorted(places.items())},
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        download_of.settle(aside, out)
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror or error}") from error
    return manifest


def _parts(name: str) -> list[str]:
    """Take a file's name apart; raise `RejectedError` for one that would lie elsewhere, or be hidden."""
    parts = name.split("/")
    if not all(SAFE_PART.fullmatch(part) for part in parts) or name == MANIFEST:
        raise RejectedError(f"{NAME}: {ACT}: the model has a file named {name!r}, which is not written")
    return parts


def _fetch(url: str, path: Path, *, seconds: float) -> None:
    import httpx

    place = storage.safe_place(httpx.URL(url), provider=NAME, act=ACT)
    with closing(bounded_client(httpx, seconds=seconds)) as client:
        source = download_of.Source(
            provider=NAME,
            get=lambda headers: client.stream("GET", place, headers=headers),
            check=_require_hash,
        )
        download_of.fetch(source, path)


def _require_hash(answer: Any, part: Path) -> None:
    """Hold the file against the MD5 sum that Google's storage states, where it does."""
    told = re.search(r"md5=([A-Za-z0-9+/]+=*)", answer.headers.get("x-goog-hash", ""))
    if told is not None and base64.b64decode(told[1]) != _hash(part, "md5"):
        part.unlink()
        raise UnavailableError(f"{NAME}: {ACT}: {part.name} is not what the storage says it is", fix="run it again")


def _hash(path: Path, kind: str) -> bytes:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, kind).digest()
