"""Leave out the records of a file that another one stands for."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from anytune.data.aside import aside
from anytune.data.input import refuse_unreadable, told
from anytune.data.near import THRESHOLD, near_pairs, reread
from anytune.data.prompt import loose_key, prompt_key, records, said, value_key
from anytune.data.sniff import BOM
from anytune.data.split import refuse_taken
from anytune.errors import UsageError
from anytune.schema.base import Value

Kind = Literal["exact", "normalised", "prompt", "near"]
Keep = Literal["first", "last"]
Gone = dict[int, tuple[int, float]]  # the offset of a line to that of the one that stands for it, and how alike

KEYS: dict[str, Callable[[bytes], bytes]] = {
    "exact": value_key,
    "normalised": loose_key,
    "prompt": prompt_key,
}


class Dropped(NamedTuple):
    """Be a line that was left out because another, kept one stands for it; `similarity` is 1.0 but for `near`."""

    line: int
    because_of: int
    similarity: float


class Deduped(Value):
    """Be what was left out of a file; `threshold` counts for `near` alone."""

    path: Path
    out: Path
    kind: Kind
    threshold: float
    examples: int
    kept: int
    dropped: tuple[Dropped, ...]


def dedupe(
    path: Path,
    out: Path,
    *,
    kind: Kind = "exact",
    keep: Keep = "first",
    threshold: float = THRESHOLD,
    force: bool = False,
) -> Deduped:
    """Write the records of a file to another, each once; every other line, blank ones too, stays byte for byte.

    `exact`: the same JSON value, whatever its white space and order of keys. `normalised`: case, runs of white space
    and made-up ids aside, too. `prompt`: the same normalised prompt, whatever the answer: what is left out may have
    said something else. `near`: at least `threshold` alike in words, see `near_pairs`; each line that goes is near to
    one that stays. The memory is that of a hash a record. Raises RefusedError for a file that cannot be read or holds
    nothing, UsageError for a path that is taken (`force` overwrites it, never the input) and a missing extra.
    """
    if kind not in get_args(Kind) or keep not in get_args(Keep):
        raise UsageError(f"no way to dedupe: {kind}, {keep}", fix=f"kinds: {', '.join(get_args(Kind))}")
    refuse_unreadable(path)
    refuse_taken(out, inputs=(path,), force=force)
    gone = _near(path, keep, threshold) if kind == "near" else _equal(path, KEYS[kind], keep)
    with told(path):
        examples, dropped = _write(path, out, gone)
    return Deduped(
        path=path,
        out=out,
        kind=kind,
        threshold=threshold,
        examples=examples,
        kept=examples - len(dropped),
        dropped=dropped,
    )


def _equal(path: Path, key_of: Callable[[bytes], bytes], keep: Keep) -> Gone:
    kept: dict[bytes, int] = {}
    lost: list[tuple[int, bytes]] = []
    for _, offset, line in records(path):
        key = hashlib.sha256(key_of(line)).digest()[:16]
        other = kept.setdefault(key, offset)
        if other != offset:
            lost.append((offset if keep == "first" else other, key))
            kept[key] = other if keep == "first" else offset
    return {offset: (kept[key], 1.0) for offset, key in lost}


def _near(path: Path, keep: Keep, threshold: float) -> Gone:
    """Keep each text that is not near to one kept before; each other goes because of the kept one it is most like.

    Not by clusters: in a chain of near ones the ends may have little in common, and both would hang on the middle.
    """
    links: dict[int, dict[int, float]] = {}
    for one, other, similarity in near_pairs(_texts(path, keep), again=partial(reread, path), threshold=threshold):
        links.setdefault(other, {})[one] = similarity
    gone: Gone = {}
    for other in sorted(links, reverse=keep == "last"):
        twin = next((one for one, similarity in links[other].items() if similarity == 1), other)
        if twin in gone:
            gone[other] = gone[twin]
        elif near := [(similarity, -one) for one, similarity in links[other].items() if one not in gone]:
            similarity, one = max(near)
            gone[other] = -one, similarity
    return gone


def _texts(path: Path, keep: Keep) -> Iterator[tuple[int, str]]:
    """Yield the words of each record with its offset, those to be kept before those that may go because of them."""
    if keep == "first":
        for _, offset, line in records(path):
            yield offset, said(line)
        return
    for offset in reversed(array("Q", (offset for _, offset, _ in records(path)))):
        yield offset, reread(path, offset)


def _write(path: Path, out: Path, gone: Gone) -> tuple[int, tuple[Dropped, ...]]:
    """Copy the lines that stay; return how many records there were, and which went by their line numbers."""
    wanted = gone.keys() | {other for other, _ in gone.values()}
    numbers: dict[int, int] = {}
    examples = offset = 0
    with path.open("rb") as stream, aside(out) as file:
        for number, line in enumerate(stream, 1):
            if offset in wanted:
                numbers[offset] = number
            if offset not in gone:
                file.write(line)
            examples += bool((line.removeprefix(BOM) if number == 1 else line).strip())
            offset += len(line)
    dropped = (Dropped(numbers[line], numbers[other], similarity) for line, (other, similarity) in gone.items())
    return examples, tuple(sorted(dropped))
