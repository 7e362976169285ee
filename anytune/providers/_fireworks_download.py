"""Bring a tuned model home: each file by its signed address, gone on with where an earlier call was cut off."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from anytune.errors import MalformedAnswerError, RejectedError, UnavailableError, UsageError
from anytune.providers import _storage as storage
from anytune.providers.edge import bounded_client
from anytune.schema.model import TunedModel

NAME, ACT = "fireworks", "download"
SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
MANIFEST = "manifest.json"
VERSION = "[0-9a-f]" * 12  # a glob for what `_version` returns


def free_folder(out: Path) -> Path:
    """Return the folder's whole path; raise `RejectedError` when something stands there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RejectedError(f"{out} is there already and not empty", fix="name a new folder", param="out")
    return out.absolute()


def download(urls: Mapping[str, str], tuned: TunedModel, *, out: Path, seconds: float) -> dict[str, Any]:
    """Write all files and a manifest into `out`, all or nothing; what is half there stays aside for the next call."""
    digest = hashlib.sha256(tuned.name.encode()).hexdigest()[:12]
    aside = out.with_name(f".{out.name}.{digest}.part")
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
        if out.exists():
            out.rmdir()  # only an empty folder goes
        os.rename(aside, out)
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
    """Bring one file; `.part` beside it grows from call to call, marked with the version that it is of."""
    import httpx

    if path.is_file():
        return
    place = storage.safe_place(httpx.URL(url), provider=NAME, act=ACT)
    with closing(bounded_client(httpx, seconds=seconds)) as client:
        # What was there may be of another version: then it is gone by now, and the file is read from its start.
        if not _grow(client, place, path) and not _grow(client, place, path):
            raise MalformedAnswerError(f"{NAME}: {ACT}: the storage begins elsewhere than it was asked to")


def _grow(client: Any, url: Any, path: Path) -> bool:
    """Read on to the end and give the file its name; False when the part does not fit and was thrown away."""
    old = next(iter(path.parent.glob(f".{path.name}.{VERSION}.part")), None)
    have = old.stat().st_size if old is not None else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with client.stream("GET", url, headers=headers) as answer:
        start, total = _extent(answer)
        if answer.status_code == 416 and old is not None:
            return _settle(old, path, whole=total == have)
        if answer.status_code not in (200, 206) or total is None:
            raise _no_file(answer)
        part = path.with_name(f".{path.name}.{_version(answer)}.part")
        if old is not None and (start != have or part != old):
            old.unlink()
        if answer.status_code == 206 and (start != have or part != (old or part)):
            return False
        _write(answer, part, start=start, total=total)
        _require_hash(answer, part)
    os.rename(part, path)
    return True


def _settle(old: Path, path: Path, *, whole: bool) -> bool:
    """Take a part beyond which there is nothing for the file, if it is as long as the file."""
    if whole:
        os.rename(old, path)
    else:
        old.unlink()
    return whole


def _extent(answer: Any) -> tuple[int, int | None]:
    """Return where the answer begins in the file, and the file's size; None when that is not said."""
    if answer.status_code in (206, 416):
        found = RANGE.fullmatch(answer.headers.get("content-range", ""))
        return (int(found[1] or 0), int(found[2])) if found else (0, None)
    length = answer.headers.get("content-length", "")
    return 0, int(length) if length.isdecimal() else None


def _version(answer: Any) -> str:
    told = answer.headers.get("etag") or answer.headers.get("last-modified", "")
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _no_file(answer: Any) -> Exception:
    if answer.is_success:
        return MalformedAnswerError(f"{NAME}: {ACT}: the storage does not say how large the file is")
    return storage.storage_error(answer, provider=NAME, act=ACT, does="does not give the file out")


def _write(answer: Any, part: Path, *, start: int, total: int) -> None:
    import httpx

    have = start
    with part.open("ab" if start else "wb") as target:
        try:
            for chunk in answer.iter_raw():  # in no larger pieces: what waits for the rest of one is lost with it
                have += len(chunk)
                target.write(chunk)
        except httpx.TransportError as error:
            raise _cut_off(have, total) from error
    if have != total:
        raise _cut_off(have, total)


def _cut_off(have: int, total: int) -> UnavailableError:
    said = f"{NAME}: {ACT}: cut off after {have} of {total} bytes"
    return UnavailableError(said, fix="run it again: it goes on from there")


def _require_hash(answer: Any, part: Path) -> None:
    """Hold the file against the MD5 sum that Google's storage states, where it does."""
    told = re.search(r"md5=([A-Za-z0-9+/]+=*)", answer.headers.get("x-goog-hash", ""))
    if told is not None and base64.b64decode(told[1]) != _hash(part, "md5"):
        part.unlink()
        raise UnavailableError(f"{NAME}: {ACT}: {part.name} is not what the storage says it is", fix="run it again")


def _hash(path: Path, kind: str) -> bytes:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, kind).digest()
