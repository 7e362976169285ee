"""Count lines by their outlines, which are what they hold beside their texts.

Once a line has been looked at closely, all others with the same outline have the same faults: so most lines of a file
are read in C (`c/`), and only the first of each outline here. Where that part was not compiled, every line is
looked at by itself, with the same results (tests/data/test_outline.py).
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from typing import NamedTuple

import msgspec

from anytune.data.check.fault import Kind
from anytune.data.check.seen import Seen, asked_in, key_of, native

_NO_PROMPT, _NO_RECORD = -1, -2
_WITHOUT_RECORD = (b"", b"{")  # of a blank line, of one that is cut off
_STAND_IN = re.compile(r'x(\d+)|\{"x(\d+)":0\}')  # for a text, for the arguments of a call
_decode = msgspec.json.Decoder().decode


class Sort(NamedTuple):
    """Be what all lines of an outline have in common: the kinds of their faults that count, and what they hold."""

    kinds: tuple[Kind, ...]
    messages: int = 0
    example: bool = True
    images: bool = False


class Other(NamedTuple):
    """Be a line whose outline is not known: its place in a block, where it starts and ends, whether it is sound."""

    place: int
    start: int
    end: int
    sound: bool


class Scanned(NamedTuple):
    """Be what so many bytes hold: of each line a key (0 where it is to be found yet) and a length; some lines whole."""

    read: int
    keys: array[int]
    lengths: array[int]
    others: list[Other]
    sampled: list[tuple[int, bytes]]


class Totals(NamedTuple):
    """Sum up all lines that were counted."""

    examples: int
    messages: int
    content: int
    with_images: int
    kinds: Counter[Kind]


class Outlines:
    """Remember outlines, and count the lines that have them; for one thread at a time."""

    def __init__(self) -> None:
        """Begin with none. Raises RuntimeError where the compiled part is missing."""
        if native is None:
            raise RuntimeError("the compiled part of anytune is missing")
        self._native = native.Outlines()
        self._sorts: list[Sort] = []
        self._refused: set[int] = set()

    def scan(self, text: bytes | memoryview, mask: int) -> Scanned:
        """Count those lines whose outlines are known; sample those whose lot shares no bit with the mask.

        Many others end the scan: once the first of them are learnt, more of those that follow are known.
        """
        read, keys, lengths, others, sampled = self._native.scan(text, mask)
        return Scanned(read, _numbers(keys), _numbers(lengths), [Other(*other) for other in others], sampled)

    def find(self, line: bytes) -> int | None:
        """Count a line and return its key if its outline is known."""
        key: int | None = self._native.find(line)
        return key

    def learn(self, line: bytes, seen: Seen | None, sort: Sort) -> None:
        """Remember the outline of a line that was looked at, if all that hangs on its texts is found there, too."""
        found = self._native.outline(line)
        if found is None or hash(found[0]) in self._refused:
            return
        outline, content, bare, texts = found
        if seen is None:
            ends = (_NO_RECORD, _NO_RECORD) if outline in _WITHOUT_RECORD else None
        else:
            ends = _ends(outline, texts, seen)
        if ends is None or (seen is not None and seen.content not in (content, bare)):
            self._refused.add(hash(outline))
        elif self._native.learn(outline, *ends, seen is not None and seen.content != content):
            self._sorts.append(sort)

    def totals(self) -> Totals:
        """Return what all counted lines hold."""
        counted = [*zip(self._sorts, self._native.counts(), strict=True)]
        kinds: Counter[Kind] = Counter()
        for sort, number in counted:
            kinds.update({kind: times * number for kind, times in Counter(sort.kinds).items()})
        return Totals(
            examples=sum(number for sort, number in counted if sort.example),
            messages=sum(sort.messages * number for sort, number in counted),
            content=self._native.content(),
            with_images=sum(number for sort, number in counted if sort.images),
            kinds=kinds,
        )


def _numbers(written: bytes) -> array[int]:
    numbers = array("q")
    numbers.frombytes(written)
    return numbers


def _ends(outline: bytes, texts: list[bytes], seen: Seen) -> tuple[int, int] | None:
    """Return the places of the texts that a prompt begins and ends with, None if they are none of the texts."""
    asked = asked_in(_decode(outline))
    if not asked:
        return (_NO_PROMPT, _NO_PROMPT) if seen.key == key_of([]) else None
    ends = [found for text in (asked[0], asked[-1]) if (found := _STAND_IN.fullmatch(text))]
    if len(ends) < 2:
        return None
    first, last = (int(found[1] or found[2]) for found in ends)
    said = [json.loads(b'"%b"' % texts[place]) for place in ([first, last] if first != last else [first])]
    return (first, last) if seen.key == key_of(said) else None
