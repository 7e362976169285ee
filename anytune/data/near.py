"""Find texts that are nearly the same: candidates by MinHash sketches, each confirmed by its true Jaccard index."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from anytune.data.prompt import said
from anytune.data.sniff import BOM
from anytune.errors import MissingExtraError, UsageError

THRESHOLD = 0.8
LOWEST = 0.5  # below it, most that is found only shares a template
# A changed word costs as many shingles as one has words, while boilerplate that two texts share counts by its length
# only. So the shortest shingle that still knows the order of words tells copies best from what shares boilerplate:
# `python bench/near.py` has the figures.
SHINGLE = 2  # words
SHORT = 10  # words; a text with fewer is near to an equal one only
_SLOTS = 128  # of a sketch, one byte each
_SEED = 1
_RECALL = 0.995  # of the pairs that just reach the threshold
_SLACK = 0.12  # about 3.4 standard errors of a similarity estimated from _SLOTS
_BATCH = 512  # texts sketched together
_WIDE = 16
_FUTILE = 16  # comparisons
_KNOWN = 250_000  # comparisons remembered
_CROWD = 32  # texts of one bucket that a further one is compared with
_TWINS = 8  # texts of one bucket after which one that is like another does not count as a further one
_CACHE = 512  # texts whose shingles are kept
# Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese): a character counts as a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)

Again = Callable[[int], str]


class Near(NamedTuple):
    """Be two texts by their numbers, and the Jaccard index of their shingles."""

    a: int
    b: int
    similarity: float


def near_pairs(texts: Iterable[tuple[int, str]], *, again: Again, threshold: float = THRESHOLD) -> Iterator[Near]:
    """Yield pairs of numbered texts that are alike, the earlier one first, the pairs in no order.

    `again` returns a text by its number once more: only 136 bytes a text are kept. A text is paired with the first
    ones that it is like, not with all; a copy (1.0) with its first twin alone, which stands for it. About 99.5 % of
    the pairs that just reach the threshold are found, more of the others, and what is found is confirmed. Raises
    MissingExtraError without the extra `dedup`, UsageError for a threshold that is not LOWEST to 1.
    """
    bands = _bands(threshold)
    sketches = Sketches(texts)
    likeness = _Likeness(sketches, sketches, again=(again, again), threshold=threshold)
    told: set[tuple[int, int]] = set()
    copies = bytearray(len(sketches.numbers))
    for start, width in bands:
        for one, other, similarity in _neighbours(sketches.band(start, width), likeness, copies):
            if (one, other) not in told:
                told.add((one, other))
                yield Near(sketches.numbers[one], sketches.numbers[other], similarity)


def near_across(these: Sketches, those: Sketches, *, again: tuple[Again, Again], threshold: float) -> Iterator[Near]:
    """Yield for each of these texts that is like one of those the pair that is most alike; see `near_pairs`."""
    likeness = _Likeness(those, these, again=again[::-1], threshold=threshold)
    candidates: dict[int, set[int]] = {}
    for start, width in _bands(threshold):
        buckets: dict[bytes, list[int]] = {}
        for place, key in enumerate(those.band(start, width)):
            if len(bucket := buckets.setdefault(key, [])) < _CROWD:
                bucket.append(place)
        for place, key in enumerate(these.band(start, width)):
            if key in buckets:
                candidates.setdefault(place, set()).update(buckets[key])
    for place, others in candidates.items():
        if found := likeness.among(others, place):
            similarity, other = max((similarity, -other) for other, similarity in found)
            yield Near(these.numbers[place], those.numbers[-other], similarity)


def reread(path: Path, offset: int) -> str:
    """Return the words of the record that begins at a byte of a file."""
    with path.open("rb") as stream:
        stream.seek(offset)
        return said(stream.readline().removeprefix(BOM).strip())


class Sketches:
    """Hold the numbers of texts and a sketch of each: _SLOTS bytes, of which two texts share as many as shingles."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        matrix = _minhash().digest_matrix_from_token_sets
        self.numbers = array("Q")
        rows = bytearray()
        left = iter(texts)
        while batch := list(islice(left, _BATCH)):
            self.numbers.extend(number for number, _ in batch)
            for row in matrix([shingles(text) for _, text in batch], _SLOTS, _SEED).to_rows():
                rows += array("I", row).tobytes()[::4]
        self._rows = bytes(rows)

    def band(self, start: int, width: int) -> Iterator[bytes]:
        """Yield the same few slots of each sketch."""
        return (self._rows[at : at + width] for at in range(start, len(self._rows), _SLOTS))

    def row(self, place: int) -> int:
        """Return a sketch as a number."""
        return int.from_bytes(self._rows[place * _SLOTS : (place + 1) * _SLOTS], "big")


class _Likeness:
    """Tell which of some texts are like one, all by their places."""

    def __init__(self, some: Sketches, ones: Sketches, *, again: tuple[Again, Again], threshold: float) -> None:
        self._some, self._ones = some, ones
        self._shingles = tuple(_remembering(one) for one in again)
        self._threshold = threshold
        self._known: dict[tuple[int, int], float] = {}
        self._vain = bytearray(len(ones.numbers))

    def among(self, some: Iterable[int], one: int) -> list[tuple[int, float]]:
        """Return those that are like one with their similarity.

        Those whose sketches are most alike are confirmed first; after _FUTILE vain looks a text is let go: it shares
        a template with too many others.
        """
        row, enough = self._ones.row(one), int((self._threshold - _SLACK) * _SLOTS)
        shared = ((_shared(self._some.row(other), row), -other) for other in some if self._vain[one] < _FUTILE)
        found = []
        for _, other in sorted((pair for pair in shared if pair[0] >= enough), reverse=True):
            similarity = self._confirmed(-other, one)
            if similarity >= self._threshold:
                found.append((-other, similarity))
            else:
                self._vain[one] += 1
                if self._vain[one] == _FUTILE:
                    break
        return found

    def _confirmed(self, some: int, one: int) -> float:
        if len(self._known) > _KNOWN:
            self._known.clear()
        if (some, one) not in self._known:
            of_some, of_one = self._shingles
            self._known[some, one] = jaccard(of_some(self._some.numbers[some]), of_one(self._ones.numbers[one]))
        return self._known[some, one]


def _neighbours(band: Iterable[bytes], likeness: _Likeness, copies: bytearray) -> Iterator[tuple[int, int, float]]:
    """Yield the places of texts that share a bucket of this band and are alike; note the copies.

    A bucket is represented by its first texts, of which few are alike and none is a copy, so that a thousand twins
    do not cost a million comparisons.
    """
    firsts: dict[bytes, int] = {}
    crowds: dict[bytes, list[int]] = {}
    for place, key in enumerate(band):
        first = firsts.setdefault(key, place)
        if first == place or copies[place]:
            continue
        crowd = crowds.setdefault(key, [first])
        found = likeness.among(crowd, place)
        for earlier, similarity in found:
            yield earlier, place, similarity
            copies[place] |= similarity == 1
        if not copies[place] and len(crowd) < (_TWINS if found else _CROWD):
            crowd.append(place)


def shingles(text: str, *, length: int = SHINGLE) -> list[str]:
    """Return the runs of so many words of a text, lower case; a SHORT text whole."""
    words = text.lower().split() if text.isascii() else _words().findall(text.lower())
    if len(words) < SHORT:
        return [" ".join(words)]
    return list(map(" ".join, zip(*(words[start:] for start in range(length)), strict=False)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the size of the intersection over that of the union."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def _remembering(again: Again) -> Callable[[int], frozenset[str]]:
    return lru_cache(_CACHE)(lambda number: frozenset(shingles(again(number))))


def _shared(one: int, other: int) -> int:
    """Return in how many slots two sketches agree."""
    return (one ^ other).to_bytes(_SLOTS, "big").count(0)


def _bands(threshold: float) -> list[tuple[int, int]]:
    """Return start and width of the runs of slots of which near texts share at least one.

    The narrowest are as wide as _RECALL at the threshold allows. In a crowd that shares a template, too many texts
    meet there; so copies meet in the whole sketch first, and near copies in _WIDE runs.
    """
    if not LOWEST <= threshold <= 1:
        raise UsageError(f"a threshold of {threshold} finds nothing near", fix=f"give a number from {LOWEST} to 1")
    narrow = max(w for w in range(1, _WIDE + 1) if 1 - (1 - threshold**w) ** (_SLOTS // w) >= _RECALL)
    widths = dict.fromkeys((_SLOTS, _WIDE, narrow))
    return [(start, width) for width in widths for start in range(0, _SLOTS - width + 1, width)]


def _minhash() -> Any:
    try:
        return import_module("rensa").RMinHash
    except ImportError as error:
        raise MissingExtraError(needs="rensa", extra="dedup") from error


@cache
def _words() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")
