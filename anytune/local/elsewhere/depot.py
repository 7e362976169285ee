"""A place that this machine and those of a cluster both reach: a shared folder, or an address that fsspec opens.

    files/<sha256>.jsonl                 the data
    jobs/<job id>/request.json           what was asked for
    jobs/<job id>/events.jsonl, log, result.json, checkpoints/step-…/, model/

A file is written aside and renamed, or put by one call: nobody reads half of one. Each act is one try.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from anytune.errors import AnytuneError, MissingExtraError, UnavailableError, UsageError
from anytune.local.runs import sync_folder
from anytune.local.training.checkpoint import sha256


class Depot(Protocol):
    """Keep files by their paths below one root."""

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, None if there is no such file."""

    def names(self, folder: str) -> Collection[str]:
        """List the files below a folder, by their paths from there; none if there is no such folder."""

    def holds(self, path: str, *, size: int, digest: str) -> bool:
        """Tell whether a file of these bytes lies there; where that cannot be read cheaply, one of this size."""

    def put(self, source: IO[bytes], path: str) -> None:
        """Write one file."""

    def fetch(self, path: str, target: Path) -> None:
        """Bring one file."""

    def remove(self, path: str) -> None:
        """Take a file or a folder away; harmless when it is gone."""


def opened(root: str, *, provider: str) -> Depot:
    """Return the depot at a path or an address."""
    return Bucket(root, provider) if "://" in root else Folder(root, provider)


class Folder:
    """Keep files in a folder that is mounted on all machines under one path."""

    def __init__(self, root: str, provider: str) -> None:
        self._root, self._provider = Path(root), provider

    @contextmanager
    def _mapped(self, act: str) -> Iterator[None]:
        if not self._root.is_dir():
            raise UsageError(
                f"{self._provider}: {act}: there is no folder {self._root}",
                fix="mount it, or make it; all machines must have it under this path",
            )
        try:
            yield
        except PermissionError as error:
            raise UsageError(f"{self._provider}: {act}: {error.filename or self._root}: {error.strerror}") from error
        except OSError as error:
            raise UnavailableError(
                f"{self._provider}: {act}: {error.filename or self._root}: {error.strerror or error}"
            ) from error

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes."""
        with self._mapped("read"):
            try:
                return (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def names(self, folder: str) -> Collection[str]:
        """List the files below a folder."""
        with self._mapped("list"):
            place = self._root / folder
            return [path.relative_to(place).as_posix() for path in sorted(place.rglob("*")) if path.is_file()]

    def holds(self, path: str, *, size: int, digest: str) -> bool:
        """Tell whether a file of these bytes lies there."""
        with self._mapped("look"):
            place = self._root / path
            return place.is_file() and place.stat().st_size == size and sha256(place) == digest

    def put(self, source: IO[bytes], path: str) -> None:
        """Write one file: aside, synced, renamed."""
        with self._mapped("write"):
            place = self._root / path
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            aside = place.with_name(f".{place.name}.{os.uname().nodename}.{os.getpid()}")
            try:
                with aside.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                    target.flush()
                    os.fsync(target.fileno())
                os.replace(aside, place)
            finally:
                aside.unlink(missing_ok=True)
            sync_folder(place.parent)

    def fetch(self, path: str, target: Path) -> None:
        """Bring one file."""
        with self._mapped("fetch"):
            shutil.copyfile(self._root / path, target)

    def remove(self, path: str) -> None:
        """Take a file or a folder away."""
        with self._mapped("remove"):
            place = self._root / path
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)


class Bucket:
    """Keep files at an address that fsspec opens (s3://, gs://, abfs://, hf://, sftp://, …) with the machine's keys."""

    def __init__(self, root: str, provider: str) -> None:
        self._address, self._provider = root, provider
        self._opened: tuple[Any, str] | None = None

    @contextmanager
    def _mapped(self, act: str) -> Iterator[tuple[Any, str]]:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError(needs="fsspec", extra="ray") from error
        scheme = self._address.partition("://")[0]
        try:
            if self._opened is None:
                system, root = url_to_fs(self._address, use_listings_cache=False)
                self._opened = system, root.rstrip("/")
            yield self._opened
        except AnytuneError:
            raise
        except (ImportError, ValueError) as error:  # no package for this kind of address, or no such kind
            raise UsageError(f"{self._provider}: {act}: {scheme}://: {_line(error)}") from error
        except PermissionError as error:
            raise UsageError(
                f"{self._provider}: {act}: {self._address}: {_line(error)}", fix="is the key to it on this machine?"
            ) from error
        except Exception as error:  # each kind of storage has exceptions of its own
            raise UnavailableError(f"{self._provider}: {act}: {self._address}: {_line(error)}") from error

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes."""
        with self._mapped("read") as (system, root):
            try:
                return bytes(system.cat_file(f"{root}/{path}"))
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> Collection[str]:
        """List the files below a folder."""
        with self._mapped("list") as (system, root):
            place = f"{root}/{folder}/"
            try:
                return [str(path).partition(place)[2] for path in sorted(system.find(place))]
            except FileNotFoundError:
                return []

    def holds(self, path: str, *, size: int, digest: str) -> bool:  # noqa: ARG002
        """Tell whether a file of this size lies there; the machine that trains compares the hash."""
        with self._mapped("look") as (system, root):
            try:
                return bool(system.info(f"{root}/{path}")["size"] == size)
            except FileNotFoundError:
                return False

    def put(self, source: IO[bytes], path: str) -> None:
        """Write one file by one call."""
        with self._mapped("write") as (system, root):
            system.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
            with system.open(f"{root}/{path}", "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)

    def fetch(self, path: str, target: Path) -> None:
        """Bring one file."""
        with self._mapped("fetch") as (system, root):
            system.get_file(f"{root}/{path}", str(target))

    def remove(self, path: str) -> None:
        """Take a file or a folder away."""
        with self._mapped("remove") as (system, root):
            try:
                system.rm(f"{root}/{path}", recursive=True)
            except FileNotFoundError:
                return


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".removesuffix(": ")


class DepotShelf:
    """Keep one run's files in its folder of a depot."""

    def __init__(self, depot: Depot, job_id: str) -> None:
        self._depot, self._folder = depot, f"jobs/{job_id}"

    def names(self) -> Collection[str]:
        """List the run's files."""
        return self._depot.names(self._folder)

    def fetch(self, name: str, path: Path) -> None:
        """Bring one of the files that were listed."""
        self._depot.fetch(f"{self._folder}/{name}", path)

    def fetch_data(self, digest: str, path: Path) -> None:
        """Bring the data of this hash."""
        self._depot.fetch(f"files/{digest}.jsonl", path)

    def write(self, files: Mapping[str, Path], *, gone: Sequence[str], message: str) -> None:  # noqa: ARG002
        """Write files one by one, what says that others are whole after them, and take folders away last."""
        for name in sorted(files, key=_rank):
            with files[name].open("rb") as source:
                self._depot.put(source, f"{self._folder}/{name}")
        for name in gone:
            self._depot.remove(f"{self._folder}/{name}")


def _rank(name: str) -> tuple[int, str]:
    return (2 if name == "result.json" else 1 if name.endswith("/manifest.json") else 0), name
