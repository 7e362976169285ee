"""Checkpoints that are whole or not there: written aside, hashed, synced, renamed; the newest whole one counts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anytune.local.runs import read_json, sync_folder, write_json

KEEP = 2
MANIFEST = "manifest.json"
LATE = 60.0  # seconds by which the disk of a network may be late
Writer = Callable[[Path], None]


@dataclass(frozen=True)
class Checkpoint:
    """Be a whole checkpoint: its folder and the optimiser step after which it was taken."""

    path: Path
    step: int


def save(folder: Path, step: int, files: Mapping[str, Writer]) -> Checkpoint:
    """Write the files as the checkpoint of `step`, then remove all but the newest few."""
    folder.mkdir(exist_ok=True)
    final, aside = folder / f"step-{step:08d}", folder / f".step-{step:08d}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    hashes = {}
    for name, write in files.items():
        write(aside / name)
        sync_file(aside / name)
        hashes[name] = sha256(aside / name)
    write_json(aside / MANIFEST, {"step": step, "files": hashes})
    shutil.rmtree(final, ignore_errors=True)  # a damaged one of the same step, met by a resumed run
    os.rename(aside, final)
    sync_folder(folder)
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return Checkpoint(final, step)


def newest(folder: Path, *, damaged: Callable[[Path, str], None] | None = None) -> Checkpoint | None:
    """Return the newest whole checkpoint; `damaged` is told of each newer one that is not whole, and why."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        fault = next(faults(path), None)
        if fault is None:
            return Checkpoint(path, int(path.name.removeprefix("step-")))
        if damaged is not None:
            damaged(path, fault)
    return None


def appears(path: Path, digest: str, *, patience: float = LATE) -> bool:
    """Tell whether the whole checkpoint with this manifest is there, or comes in that time."""
    end = time.monotonic() + patience
    while True:
        with suppress(OSError):
            if sha256(path / MANIFEST) == digest and next(faults(path), None) is None:
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.5)


def faults(path: Path) -> Iterator[str]:
    """Yield what is wrong with a checkpoint; nothing if it is whole."""
    manifest = read_json(path / MANIFEST)
    if manifest is None or not isinstance(manifest.get("files"), dict):
        yield "manifest.json is missing or cut off"
        return
    for name, wanted in manifest["files"].items():
        file = path / name
        if not file.is_file():
            yield f"{name} is missing"
        elif sha256(file) != wanted:
            yield f"{name} does not have the SHA-256 that the manifest names"


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_writer(value: object) -> Writer:
    """Return a writer of the value as JSON; floats come back exactly."""

    def write(path: Path) -> None:
        path.write_text(json.dumps(value), encoding="utf-8")

    return write


def sync_file(path: Path) -> None:
    """Push the file's bytes to the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
