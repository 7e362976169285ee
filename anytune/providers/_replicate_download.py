"""Bring what a trainer made home: one zip, which is unpacked into a folder, all or nothing.

The trainers of language models that are published pack their folder of results so (replicate/cog-llama-template). "Any
files will be represented as HTTPS URLs. You'll need to pass the Authorization header": the key goes to the API and to
the vendor's own storage, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from anytune.errors import MalformedAnswerError, RejectedError, UnavailableError, UsageError
from anytune.providers import _storage as storage
from anytune.providers import _zip
from anytune.providers._replicate_gateway import NAME, Gateway
from anytune.providers.edge import bounded_client
from anytune.schema.model import TunedModel

ACT = "download"
MANIFEST = "manifest.json"
WEIGHTS = ".safetensors"
STORAGE = "replicate.delivery"  # "output files are served by replicate.delivery and its subdomains"


def free_folder(out: Path) -> Path:
    """Return the folder's whole path; raise `RejectedError` when something stands there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RejectedError(f"{out} is there already and not empty", fix="name a new folder", param="out")
    return out.absolute()


def download(gateway: Gateway, address: str, tuned: TunedModel, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write the files and a manifest into `out`; nothing is left of a download that failed."""
    digest = hashlib.sha256(tuned.name.encode()).hexdigest()[:12]
    aside = out.with_name(f".{out.name}.{digest}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        (aside / "model").mkdir(parents=True)
        _fetch(gateway, address, aside / "archive", seconds=seconds)
        manifest = _unpacked(aside / "archive", aside / "model", tuned)
        if out.exists():
            out.rmdir()  # only an empty folder goes
        os.rename(aside / "model", out)
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _fetch(gateway: Gateway, address: str, archive: Path, *, seconds: float) -> None:
    import httpx

    with gateway.connected(ACT):
        url = storage.safe_place(httpx.URL(address), provider=NAME, act=ACT)
        headers = {"Accept-Encoding": "identity", **(gateway.headers if is_theirs(url, gateway) else {})}
        with (
            closing(bounded_client(httpx, seconds=seconds)) as client,
            client.stream("GET", url, headers={**headers, "Accept": "*/*"}) as answer,
        ):
            if not answer.is_success:
                raise storage.storage_error(answer, provider=NAME, act=ACT, does="does not give the weights out")
            _write(answer, archive)


def is_theirs(url: Any, gateway: Gateway) -> bool:
    """Tell whether an address is the API's, or of the vendor's storage and reached by https."""
    import httpx

    own = httpx.URL(gateway.origin)
    if (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port):
        return True
    return bool(url.scheme == "https" and f".{url.host}".endswith(f".{STORAGE}"))


def _write(answer: Any, archive: Path) -> None:
    import httpx

    length, have = answer.headers.get("content-length", ""), 0
    if not length.isdecimal():
        raise MalformedAnswerError(f"{NAME}: {ACT}: the storage does not say how large the file is")
    cut_off = f"{NAME}: {ACT}: cut off before the end of {length} bytes"
    try:
        with archive.open("wb") as target:
            for chunk in answer.iter_raw():
                have += len(chunk)
                target.write(chunk)
    except httpx.TransportError as error:
        raise UnavailableError(cut_off, fix="run it again") from error
    if have != int(length):
        raise UnavailableError(cut_off, fix="run it again")


def _unpacked(archive: Path, folder: Path, tuned: TunedModel) -> dict[str, Any]:
    model = _zip.unpack(archive, folder, provider=NAME)
    if not any(name.endswith(WEIGHTS) for name in model.files):
        held = ", ".join(model.left_out[:3]) or "nothing"
        raise RejectedError(f"{NAME}: {ACT}: the trainer's archive holds no {WEIGHTS} (but {held}), so it is not taken")
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
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest
