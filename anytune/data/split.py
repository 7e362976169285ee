"""Split a file so that no prompt, or no group, stands on two sides."""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import msgspec

from anytune.data.aside import aside, own_folder
from anytune.data.input import opened, refuse_unreadable, told
from anytune.data.lines import Lines
from anytune.data.prompt import first_turn_key, prompt_key, records
from anytune.errors import UsageError
from anytune.schema.base import Value

By = Literal["prompt", "first-turn"]

TRAIN = "train"
_SALT = b"anytune split 1\n"
_HASHES = 2**64
_KEYS: dict[By, Callable[[bytes, int], bytes]] = {
    "prompt": lambda line, _: prompt_key(line),
    "first-turn": lambda line, _: first_turn_key(line),
}
_NAMED: dict[By, str] = {"prompt": "prompts", "first-turn": "first turns"}
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<place>\d+)\]|\['(?P<quoted>[^']+)'\]")


class Side(Value):
    """Be one new file; `wanted` is the share (below 1) or the number of examples asked for, None for the rest."""

    name: str
    path: Path
    examples: int
    wanted: float | int | None


class Split(Value):
    """Be a file in parts; `by` is what was kept together: `prompt`, `first-turn`, or the key of the group."""

    path: Path
    by: str
    sides: tuple[Side, ...]


def divide(
    path: Path,
    *,
    into: Mapping[str, Path],
    validation: float | int | None = None,
    test: float | int | None = None,
    by: By = "prompt",
    group: str | None = None,
    drop_group: bool = False,
    force: bool = False,
) -> Split:
    """Write each example to one of the files that `into` names `train`, `validation` and `test`.

    A size is a share between 0 and 1, or, as an integer, a number of examples. The side of an example hangs on a hash
    of its prompt, of the first turn of its chat (so that no prompt is a turn of a chat on another side), or of its
    value under `group` (a key, or a path such as `$.metadata.customer`): neither its place nor its answer matters, and
    by share the other examples do not either, so that a file that grows keeps its sides.
    (Only where a side would stay empty, the prompts with the nearest hashes change over.) Validation takes the lowest
    hashes and test the highest, so that one may be resized without the other. A number is filled in the order of the
    hashes; a prompt with more examples than are still wanted is passed over whole, and where nothing fits any more
    the side stays below the number.

    Lines are copied byte for byte without BOM and carriage return, blank ones left out; `drop_group` takes the group
    out of them. The files appear at the end, none after an error. The memory is 25 bytes an example, more while they
    are sorted. Raises UsageError for wrong sizes and names, both `by` and `group`, files that are taken (`force`
    overwrites them, never the input), and a record that has no group, RefusedError for a file that cannot be read or
    holds nothing.
    """
    sizes = {name: size for name, size in (("validation", validation), ("test", test)) if size is not None}
    _refuse_sizes(sizes, into)
    if group and by != "prompt":
        raise UsageError(f"a split goes by {by} or by {group}, not by both", fix="choose one of them")
    refuse_unreadable(path)
    refuse_taken(*into.values(), inputs=(path,), force=force)
    grouped = _Group(path, group) if group else None
    key = grouped.key if grouped else _KEYS[by]
    hashes = array("Q", (_hash(key(line, number)) for number, _, line in records(path)))
    levels, counts = _levels(hashes)
    if len(levels) <= len(sizes):
        what = f"values of {group}" if group else _NAMED[by]
        raise UsageError(f"{path.name} has fewer than {len(sizes) + 1} different {what}", fix="add examples")
    names = (TRAIN, *sizes)
    sides = _sides(levels, counts, sizes)
    lines = (grouped.without(line) if grouped and drop_group else line for _, _, line in records(path))
    places = (sides[bisect_left(levels, found)] for found in hashes)
    written = _write(path, zip(lines, places, strict=True), [into[name] for name in names])
    made = zip(names, written, strict=True)
    parts = (Side(name=name, path=into[name], examples=many, wanted=sizes.get(name)) for name, many in made)
    return Split(path=path, by=group or by, sides=tuple(parts))


def split(path: Path, *, share: float, out_train: Path, out_validation: Path) -> tuple[int, int]:
    """Write about `share` of the examples to `out_validation`, the rest to `out_train`; return both counts.

    See `divide`; files that are there are overwritten.
    """
    made = divide(path, into={TRAIN: out_train, "validation": out_validation}, validation=float(share), force=True)
    return made.sides[0].examples, made.sides[1].examples


def kept(path: Path, *, share: float, folder: Path) -> tuple[Path, Path]:
    """Return the two sides of a file, split once into `folder` under names that hold the hash of its content."""
    with opened(path) as stream:
        lines = Lines(stream)
        lines.drain()
    stem = f"{path.stem}-{lines.sha256[:16]}-{share:g}"
    train, validation = (folder / f"{stem}.{side}.jsonl" for side in ("train", "validation"))
    own_folder(folder)
    if not (train.is_file() and validation.is_file()):
        split(path, share=share, out_train=train, out_validation=validation)
    return train, validation


def refuse_taken(*outs: Path, inputs: tuple[Path, ...], force: bool) -> None:
    """Raise UsageError where a new file would take the place of an input, of another or, without force, of any."""
    if len({path.resolve() for path in (*outs, *inputs)}) < len(outs) + len(inputs):
        raise UsageError("the new files and the old one need different names")
    for out in outs:
        if out.exists() and not force:
            raise UsageError(f"{out} exists", fix="name another file, or add --force")


def _refuse_sizes(sizes: Mapping[str, float | int], into: Mapping[str, Path]) -> None:
    if set(into) != {TRAIN, *sizes} or not sizes:
        raise UsageError(f"files for {', '.join(into)}, but sizes for {', '.join(sizes) or 'none'}")
    for name, size in sizes.items():
        if isinstance(size, int) and size < 1:
            raise UsageError(f"{size} examples for {name} are none", fix="give a number above 0")
        if isinstance(size, float) and not 0 < size < 1:
            raise UsageError(f"a share of {size} for {name} splits nothing off", fix="give a number between 0 and 1")
    if sum(size for size in sizes.values() if isinstance(size, float)) >= 1:
        raise UsageError("these shares leave nothing to train on", fix="give shares that add up to less than 1")


def _levels(hashes: array[int]) -> tuple[array[int], array[int]]:
    """Return the different hashes, rising, and how many examples have each."""
    levels, counts = array("Q"), array("Q")
    for level, same in groupby(sorted(hashes)):
        levels.append(level)
        counts.append(sum(1 for _ in same))
    return levels, counts


def _sides(levels: array[int], counts: array[int], sizes: Mapping[str, float | int]) -> bytearray:
    """Return for each of the rising hashes the number of its side: 0 for train, then in the order of the sizes."""
    sides = bytearray(len(levels))
    numbers = {name: number for number, name in enumerate(sizes, 1)}
    for name, many in _many(levels, sizes).items():
        for at in _order(name, len(levels))[:many]:
            sides[at] = numbers[name]
    for name, size in sizes.items():
        if isinstance(size, int):
            _fill(sides, counts, numbers[name], size, _order(name, len(levels)))
    if 0 not in sides:
        raise UsageError("these sizes leave nothing to train on", fix="give smaller ones")
    return sides


def _order(name: str, length: int) -> range:
    return range(length) if name == "validation" else range(length - 1, -1, -1)


def _many(levels: array[int], sizes: Mapping[str, float | int]) -> dict[str, int]:
    """Return how many hashes each share has, so that no side stays empty."""
    many = {}
    for name, size in sizes.items():
        if isinstance(size, float):
            limit = int(size * _HASHES)
            below = bisect_left(levels, limit if name == "validation" else _HASHES - limit)
            many[name] = max(1, below if name == "validation" else len(levels) - below)
    while sum(many.values()) > len(levels) - 1:
        many[max(many, key=many.__getitem__)] -= 1
    return many


def _fill(sides: bytearray, counts: array[int], number: int, size: int, order: range) -> None:
    left = size
    for at in order:
        if not sides[at] and counts[at] <= left:
            sides[at] = number
            left -= counts[at]
            if not left:
                return
    if left == size:
        raise UsageError(f"nothing that must stay together has so few as {size} examples", fix="give a larger number")


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(_SALT + key).digest()[:8], "big")


def _write(path: Path, placed: Iterator[tuple[bytes, int]], outs: list[Path]) -> list[int]:
    counts = [0] * len(outs)
    try:
        with told(path), ExitStack() as stack:
            files = [stack.enter_context(aside(out)) for out in outs]
            for line, side in placed:
                counts[side] += 1
                files[side].write(line + b"\n")
    except ValueError as error:
        raise UsageError(f"{path.name} changed while it was split", fix="split it again") from error
    return counts


class _Group:
    """Find the value of a group in a record."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = path
        self._name = name
        self._steps: list[str | int] = [name]
        if name.startswith("$"):
            found = list(_STEP.finditer(name, 1))
            if not found or "".join(step[0] for step in found) != name[1:]:
                raise UsageError(f"{name} is no path to a group", fix="write it like $.metadata.customer")
            self._steps = [step["key"] or step["quoted"] or int(step["place"]) for step in found]

    def key(self, line: bytes, number: int) -> bytes:
        """Return the value as JSON text; raises UsageError if there is none."""
        try:
            value = msgspec.json.decode(line)
            for step in self._steps:
                value = value[step]
            return b"group\n" + msgspec.json.encode(value, order="sorted")
        except (msgspec.MsgspecError, ValueError, RecursionError, LookupError, TypeError) as error:
            path = "" if self._name.startswith("$") else ", or a path like $.metadata.customer"
            raise UsageError(
                f"{self._file.name}:{number}: the record has no {self._name}",
                fix=f"give each record one{path}; or leave --group out",
            ) from error

    def without(self, line: bytes) -> bytes:
        """Return the record without the group, and without what held nothing else."""
        record: Any = msgspec.json.decode(line)
        holders = [record]
        for step in self._steps[:-1]:
            holders.append(holders[-1][step])
        for holder, step in zip(reversed(holders), reversed(self._steps), strict=True):
            del holder[step]
            if holder:
                break
        return msgspec.json.encode(record)
