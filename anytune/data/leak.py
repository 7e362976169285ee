"""Find the records of a training file that stand in a held-out file, too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from anytune.data import prompt
from anytune.data.near import THRESHOLD, Sketches, near_across, reread
from anytune.data.prompt import records

BATCH = 4096  # lines looked at together
_ENDING = 8  # words


class Leak(NamedTuple):
    """Be a record of the training file (`line`, byte `offset`) that the held-out file knows from its `other_line`.

    `exact`: the same JSON value; `prompt`: the same prompt, case and white space aside, with another answer;
    `near`: words so alike that `similarity`, their Jaccard index, reaches the threshold (1.0 for the other kinds).
    """

    kind: Literal["exact", "prompt", "near"]
    line: int
    offset: int
    other_line: int
    similarity: float


def leaks(train: Path, held_out: Path, *, near: bool = False, threshold: float = THRESHOLD) -> Iterator[Leak]:
    """Yield what leaked, in the order of the training file, one leak a record: exact before prompt before near.

    The training file is streamed; the memory is that of some hashes for each record of the held-out file. Raises
    UsageError for a file that cannot be read or is no JSON lines, and if `near` is wanted without the extra `dedup`.
    """
    known = _Known(held_out)
    alike = _Alike(train, held_out, threshold=threshold) if near else None
    lines = records(train)
    while batch := list(islice(lines, BATCH)):
        found = [leak for number, offset, line in batch if (leak := known.leak(number, offset, line))]
        if alike:
            surely = {leak.line for leak in found}
            found += alike.leaks([record for record in batch if record[0] not in surely])
        yield from sorted(found, key=lambda leak: leak.line)


class _Known:
    """Know the prompts and the values of a file by their hashes, and how the prompts end.

    Most prompts of the other file end in words that none of these ends in: they need not be normalised whole.
    """

    def __init__(self, path: Path) -> None:
        self._prompts: dict[bytes, int] = {}
        self._values: dict[bytes, int] = {}
        self._endings: set[str] = set()
        for number, _, line in records(path):
            if messages := prompt.asked(line):
                self._endings.add(_ending(messages))
                self._prompts.setdefault(_prompt(messages), number)
            self._values.setdefault(_value(line), number)

    def leak(self, number: int, offset: int, line: bytes) -> Leak | None:
        messages = prompt.asked(line)
        if messages and _ending(messages) not in self._endings:
            return None
        same_prompt = self._prompts.get(_prompt(messages)) if messages else None
        if messages and same_prompt is None:
            return None
        same_value = self._values.get(_value(line))
        if same_value is not None:
            return Leak("exact", number, offset, same_value, 1.0)
        return Leak("prompt", number, offset, same_prompt, 1.0) if same_prompt is not None else None


class _Alike:
    """Know the words of a file by their sketches."""

    def __init__(self, train: Path, held_out: Path, *, threshold: float) -> None:
        self._again = partial(reread, train), partial(reread, held_out)
        self._threshold = threshold
        self._numbers: dict[int, int] = {}
        self._sketches = Sketches(self._texts(held_out))

    def leaks(self, batch: list[tuple[int, int, bytes]]) -> Iterator[Leak]:
        numbers = {offset: number for number, offset, _ in batch}
        these = Sketches((offset, prompt.said(line)) for _, offset, line in batch)
        found = near_across(these, self._sketches, again=self._again, threshold=self._threshold)
        for offset, other, similarity in found:
            yield Leak("near", numbers[offset], offset, self._numbers[other], similarity)

    def _texts(self, path: Path) -> Iterator[tuple[int, str]]:
        for number, offset, line in records(path):
            self._numbers[offset] = number
            yield offset, prompt.said(line)


def _ending(messages: list[str]) -> str:
    return " ".join(messages[-1].rsplit(None, _ENDING)[-_ENDING:]).lower()


def _prompt(messages: list[str]) -> bytes:
    return hashlib.sha256(prompt.folded(" ".join(messages))).digest()[:16]


def _value(line: bytes) -> bytes:
    return hashlib.sha256(prompt.value_key(line)).digest()[:16]
