"""Bring one file home: a part beside it grows from call to call, until it is as long as the far side says it is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune.errors import MalformedAnswerError, RejectedError, UnavailableError, UsageError
from anytune.providers import _storage as storage

ACT = "download"
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
VERSION = "[0-9a-f]" * 12  # a glob for what `_version` returns


@dataclass(frozen=True)
class Source:
    """Be where a file comes from: `get` opens a streamed answer (httpx.Response) to a GET with these headers.

    `check` looks at the whole part before it gets its name, with the answer that ended it, and raises for one that is
    not what was told.
    """

    provider: str
    get: Callable[[Mapping[str, str]], AbstractContextManager[Any]]
    check: Callable[[Any, Path], None] | None = None


def free_folder(out: Path) -> Path:
    """Return the folder's whole path; raise `RejectedError` when something stands there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RejectedError(f"{out} is there already and not empty", fix="name a new folder", param="out")
    return out.absolute()


def aside(out: Path, *about: str) -> Path:
    """Return the hidden folder beside `out` in which a download of just this waits until it is whole."""
    digest = hashlib.sha256("\n".join(about).encode()).hexdigest()[:12]
    return out.with_name(f".{out.name}.{digest}.part")


@contextmanager
def on_disk(out: Path) -> Iterator[None]:
    """Raise `UsageError` for what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror or error}") from error


def settle(folder: Path, out: Path) -> None:
    """Give a whole folder its name."""
    if out.exists():
        out.rmdir()  # only an empty folder goes
    os.rename(folder, out)


def fetch(source: Source, path: Path) -> None:
    """Bring one file; `.part` beside it grows from call to call, marked with the version that it is of.

    Raises `UnavailableError` when it was cut off: the next call goes on from there.
    """
    # What was there may be of another version: then it is gone by now, and the file is read from its start.
    if not path.is_file() and not _grow(source, path) and not _grow(source, path):
        raise MalformedAnswerError(f"{source.provider}: {ACT}: the storage begins elsewhere than it was asked to")


def _grow(source: Source, path: Path) -> bool:
    """Read on to the end and give the file its name; False when the part does not fit and was thrown away."""
    old = next(iter(path.parent.glob(f".{path.name}.{VERSION}.part")), None)
    have = old.stat().st_size if old is not None else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with source.get(headers) as answer:
        start, total = _extent(answer)
        if answer.status_code == 416 and old is not None:
            return _settled(old, path, whole=total == have, checked=source.check is not None)
        if answer.status_code not in (200, 206) or total is None:
            raise _no_file(answer, source.provider)
        part = path.with_name(f".{path.name}.{_version(answer, total)}.part")
        if old is not None and (start != have or part != old):
            old.unlink()
        if answer.status_code == 206 and (start != have or part != (old or part)):
            return False
        _write(answer, part, start=start, total=total, provider=source.provider)
        if source.check is not None:
            source.check(answer, part)
    os.rename(part, path)
    return True


def _settled(old: Path, path: Path, *, whole: bool, checked: bool) -> bool:
    """Take a part beyond which there is nothing for the file, if it is as long as the file.

    What has to be checked loses its last byte, for only the answer that brings one says what the file should be.
    """
    if whole and checked:
        os.truncate(old, old.stat().st_size - 1)
        return False
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


def _version(answer: Any, total: int) -> str:
    told = answer.headers.get("etag") or answer.headers.get("last-modified", "")
    return hashlib.sha256(f"{told} {total}".encode()).hexdigest()[:12]


def _no_file(answer: Any, provider: str) -> Exception:
    if answer.is_success:
        return MalformedAnswerError(f"{provider}: {ACT}: the storage does not say how large the file is")
    return storage.storage_error(answer, provider=provider, act=ACT, does="does not give the file out")


def _write(answer: Any, part: Path, *, start: int, total: int, provider: str) -> None:
    import httpx

    have = start
    with part.open("ab" if start else "wb") as target:
        try:
            for chunk in answer.iter_raw():  # in no larger pieces: what waits for the rest of one is lost with it
                have += len(chunk)
                target.write(chunk)
        except httpx.TransportError as error:
            raise _cut_off(have, total, provider) from error
    if have != total:
        raise _cut_off(have, total, provider)


def _cut_off(have: int, total: int, provider: str) -> UnavailableError:
    said = f"{provider}: {ACT}: cut off after {have} of {total} bytes"
    return UnavailableError(said, fix="run it again: it goes on from there")
