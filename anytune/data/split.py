"""Split a file so that no prompt stands on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from anytune.data.aside import aside
from anytune.data.lines import Lines
from anytune.data.prompt import prompt_key
from anytune.data.sniff import BOM
from anytune.errors import UsageError

_SALT = b"anytune split 1\n"


def split(path: Path, *, share: float, out_train: Path, out_validation: Path) -> tuple[int, int]:
    """Write about `share` of the examples to `out_validation`, the rest to `out_train`; return both counts.

    The side of an example hangs on a hash of its prompt alone: neither its place in the file nor its answer nor
    the other examples matter, so a file that grows keeps its sides. (Only where that would leave a side empty, the
    prompt with the nearest hash changes over.) Lines are copied byte for byte, blank ones left out. The files
    appear at the end; an error before leaves neither.
    """
    if not 0 < share < 1:
        raise UsageError(f"a share of {share} splits nothing off", fix="give a number between 0 and 1")
    if len({p.resolve() for p in (path, out_train, out_validation)}) < 3:
        raise UsageError("the two new files and the old one need three names")
    try:
        limit = _limit(path, share)
        return _write(path, limit, out_train, out_validation)
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from error


def kept(path: Path, *, share: float, folder: Path) -> tuple[Path, Path]:
    """Return the two sides of a file, split once into `folder` under names that hold the hash of its content."""
    try:
        with path.open("rb") as stream:
            lines = Lines(stream)
            lines.drain()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    stem = f"{path.stem}-{lines.sha256[:16]}-{share:g}"
    train, validation = (folder / f"{stem}.{side}.jsonl" for side in ("train", "validation"))
    if not (train.is_file() and validation.is_file()):
        split(path, share=share, out_train=train, out_validation=validation)
    return train, validation


def _hash(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(_SALT + prompt_key(line)).digest()[:8], "big")


def _limit(path: Path, share: float) -> int:
    """Return the hash below which a prompt is for validation, moved so that neither side stays empty."""
    lowest, highest = 2**64, -1
    for line in _records(path):
        digest = _hash(line)
        lowest, highest = min(lowest, digest), max(highest, digest)
    if lowest >= highest:
        raise UsageError(f"{path.name} has fewer than two different prompts", fix="add examples")
    return max(lowest + 1, min(highest, int(share * 2**64)))


def _write(path: Path, limit: int, out_train: Path, out_validation: Path) -> tuple[int, int]:
    counts = [0, 0]
    with ExitStack() as stack:
        sides = [stack.enter_context(aside(out)) for out in (out_train, out_validation)]
        for line in _records(path):
            side = int(_hash(line) < limit)
            counts[side] += 1
            sides[side].write(line + b"\n")
    return counts[0], counts[1]


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for number, line in Lines(stream):
            if line is None:
                raise UsageError(f"{path.name}:{number}: the line is too long", fix=f"anytune check {path.name}")
            bare = (line.removeprefix(BOM) if number == 1 else line).strip()
            if bare:
                yield bare
