"""Find the records of a training file that stand in a held-out file, too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
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

    `exact`: the same JSON value; `prompt`: the same prompt, case and white space aside, with another answer; `turn`:
    the whole prompt of one is what the other asks before an answer within its chat; `near`: words so alike that
    `similarity`, their Jaccard index, reaches the threshold (1.0 for the other kinds).
    """

    kind: Literal["exact", "prompt", "turn", "near"]
    line: int
    offset: int
    other_line: int
    similarity: float


def leaks(train: Path, held_out: Path, *, near: bool = False, threshold: float = THRESHOLD) -> Iterator[Leak]:
    """Yield what leaked, in the order of the training file, one leak a record: exact, prompt, turn, near.

    The training file is streamed; the memory is that of some hashes for each answer in the held-out file. Raises
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
    """Know the prompts, the turns within them and the values of a file by their hashes, and how the first two end.

    Most prompts of the other file end in words that none of these ends in: they need not be normalised whole.
    """

    def __init__(self, path: Path) -> None:
        self._prompts: dict[bytes, int] = {}
        self._turns: dict[bytes, int] = {}
        self._values: dict[bytes, int] = {}
        self._endings: set[int] = set()
        for number, _, line in records(path):
            if messages := prompt.asked(line):
                lengths = _lengths(messages)
                self._endings.update(_ending(messages[length - 1]) for length in lengths)
                *turns, whole = _keys(messages, lengths)
                self._prompts.setdefault(whole, number)
                for turn in turns:
                    self._turns.setdefault(turn, number)
            self._values.setdefault(_value(line), number)

    def leak(self, number: int, offset: int, line: bytes) -> Leak | None:
        messages = prompt.asked(line)
        lengths = [length for length in _lengths(messages) if _ending(messages[length - 1]) in self._endings]
        keys = dict(zip(lengths, _keys(messages, lengths), strict=True))
        whole = keys.pop(len(messages), None)
        same_prompt = self._prompts.get(whole) if whole else None
        if same_prompt is not None or not messages:
            same_value = self._values.get(_value(line))
            if same_value is not None:
                return Leak("exact", number, offset, same_value, 1.0)
        if same_prompt is not None:
            return Leak("prompt", number, offset, same_prompt, 1.0)
        same_turn = self._turn(whole, keys.values())
        return Leak("turn", number, offset, same_turn, 1.0) if same_turn is not None else None

    def _turn(self, whole: bytes | None, turns: Iterable[bytes]) -> int | None:
        """Return the first line that asks within a chat what is asked here at the end, or the other way round."""
        known = [self._prompts.get(turn) for turn in turns] + [self._turns.get(whole) if whole else None]
        return min((line for line in known if line is not None), default=None)


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


def _lengths(messages: list[str]) -> list[int]:
    """Return how many messages each turn within a prompt has, and then the prompt itself; none if nothing is asked."""
    return [*prompt.turns(messages), len(messages)] if messages else []


def _ending(message: str) -> int:
    return hash(" ".join(message.rsplit(None, _ENDING)[-_ENDING:]).lower())


def _keys(messages: list[str], lengths: list[int]) -> Iterator[bytes]:
    """Yield the hash of the first so many messages for each of the rising lengths, normalising none of them twice."""
    told, done = hashlib.sha256(), 0
    for length in lengths:
        told.update((b" " if done else b"") + prompt.folded(" ".join(messages[done:length])))
        done = length
        yield told.digest()[:16]


def _value(line: bytes) -> bytes:
    return hashlib.sha256(prompt.value_key(line)).digest()[:16]
