"""Bring a tuned model home: each file by its signed address, gone on with where an earlier call was cut off."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from anytune.errors import RejectedError, UnavailableError
from anytune.providers import _download as download_of
from anytune.providers import _manifest
from anytune.providers.edge import bounded_client
from anytune.providers.fireworks.gateway import Gateway
from anytune.schema.model import TunedModel

NAME, ACT = "fireworks", download_of.ACT
SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def download(
    gateway: Gateway, urls: Mapping[str, str], tuned: TunedModel, *, out: Path, seconds: float
) -> dict[str, Any]:
    """Write all files and a manifest into `out`, all or nothing; what is half there stays aside for the next call."""
    aside = download_of.aside(out, tuned.name)
    sources = {name: gateway.place(url, act=ACT) for name, url in urls.items()}
    places = {name: aside.joinpath(*_parts(name)) for name in urls}
    with download_of.on_disk(out):
        for name, path in sorted(places.items()):
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch(sources[name], path, seconds=seconds)
        hashes = {name: _manifest.hash_of(path) for name, path in places.items()}
        manifest = _manifest.write(aside, tuned, kind="adapter", files=hashes)
        download_of.settle(aside, out)
    return manifest


def _parts(name: str) -> list[str]:
    """Take a file's name apart; raise `RejectedError` for one that would lie elsewhere, or be hidden."""
    parts = name.split("/")
    if not all(SAFE_PART.fullmatch(part) for part in parts) or name == _manifest.FILE:
        raise RejectedError(f"{NAME}: {ACT}: the model has a file named {name!r}, which is not written")
    return parts


def _fetch(place: Any, path: Path, *, seconds: float) -> None:
    import httpx

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
    if told is not None and base64.b64decode(told[1]).hex() != _manifest.hash_of(part, "md5"):
        part.unlink()
        raise UnavailableError(f"{NAME}: {ACT}: {part.name} is not what the storage says it is", fix="run it again")
