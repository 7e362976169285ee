"""Bring what a trainer made home: one archive by ranges, unpacked into a folder, all or nothing.

The trainer of the language models that are listed packs its results in a zip (replicate/cog-llama-template), others in
a tar. "Any files will be represented as HTTPS URLs. You'll need to pass the Authorization header": the key goes to the
API and to the vendor's own storage, and nowhere else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from anytune.errors import RejectedError, UsageError
from anytune.providers import _archive, _weights, _zip
from anytune.providers import _download as download_of
from anytune.providers import _storage as storage
from anytune.providers._replicate_gateway import NAME, Gateway
from anytune.providers.edge import bounded_client
from anytune.schema.model import TunedModel

ACT = download_of.ACT
MANIFEST = "manifest.json"
STORAGE = "replicate.delivery"  # "output files are served by replicate.delivery and its subdomains"

free_folder = download_of.free_folder


def download(gateway: Gateway, address: str, tuned: TunedModel, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write the files and a manifest into `out`; an archive that is half there stays aside for the next call."""
    aside = download_of.aside(out, tuned.name)
    try:
        aside.mkdir(parents=True, exist_ok=True)
        archive = aside / "archive"
        source = download_of.Source(NAME, lambda headers: _opened(gateway, address, headers, seconds=seconds))
        download_of.fetch(source, archive)
        try:
            manifest = _unpacked(archive, aside / "model", tuned)
        except RejectedError:
            shutil.rmtree(aside)  # the same bytes would be refused again
            raise
        download_of.settle(aside / "model", out)
        shutil.rmtree(aside)
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror or error}") from error
    return manifest


@contextmanager
def _opened(gateway: Gateway, address: str, headers: Mapping[str, str], *, seconds: float) -> Iterator[Any]:
    import httpx

    with ExitStack() as stack:
        stack.enter_context(gateway.connected(ACT))
        client = stack.enter_context(bounded_client(httpx, seconds=seconds))
        url = storage.safe_place(httpx.URL(address), provider=NAME, act=ACT)
        key = gateway.headers if is_theirs(url, gateway) else {}
        yield stack.enter_context(client.stream("GET", url, headers={**key, "Accept": "*/*", **headers}))


def is_theirs(url: Any, gateway: Gateway) -> bool:
    """Tell whether an address is the API's, or of the vendor's storage and reached by https."""
    import httpx

    own = httpx.URL(gateway.origin)
    if (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port):
        return True
    return bool(url.scheme == "https" and f".{url.host}".endswith(f".{STORAGE}"))


def _unpacked(archive: Path, folder: Path, tuned: TunedModel) -> dict[str, Any]:
    """Unpack into `folder`, look at what came, and write its manifest."""
    raw = folder.with_name("unpacked")
    for old in (raw, folder):
        shutil.rmtree(old, ignore_errors=True)
    raw.mkdir()
    unpack = _zip.unpack if _zip.is_zip(archive) else _archive.unpack
    place, model = _archive.lifted(raw, unpack(archive, raw, provider=NAME))
    _weights.require_whole(place, model, kind="adapter", provider=NAME)
    if model.files.pop(MANIFEST, None) is not None:
        model.left_out.append(MANIFEST)  # the name is ours
    manifest = {
        "kind": "adapter",
        "base": tuned.base,
        "model": tuned.name,
        "job_id": tuned.job_id,
        "files": dict(sorted(model.files.items())),
        **({"left_out": sorted(model.left_out)} if model.left_out else {}),
    }
    (place / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    os.rename(place, folder)
    return manifest
