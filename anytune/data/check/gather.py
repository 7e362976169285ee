"""Gather what many keys or lengths have in common: in C where that was compiled, else in Python."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import compress

from anytune.data.check.seen import native


def repeated(keys: array[int]) -> array[int]:
    """Return those of some keys that stand more than once, each once, without 0."""
    if native is not None:
        return _read(native.repeated(keys))
    seen: set[int] = set()
    return array("q", {key for key in keys if key in seen or seen.add(key)} - {0})  # type: ignore[func-returns-value]


def grouped(keys: array[int], group: int, groups: int) -> array[int]:
    """Return the keys of one of several groups, without 0; equal keys are in the same."""
    if native is not None:
        return _read(native.group(keys, group, groups))
    return array("q", [key for key in keys if key and key % groups == group])


def places(keys: array[int], wanted: array[int]) -> array[int]:
    """Return the places in which the wanted keys stand, of which 0 is none."""
    if native is not None:
        return _read(native.places(keys, wanted))
    known = set(wanted) - {0}
    return array("q", compress(range(len(keys)), map(known.__contains__, keys)))


def sizes(keys: array[int], lengths: array[int]) -> Counter[int]:
    """Count the lengths whose key is not 0."""
    if native is None:
        return Counter(compress(lengths, keys))
    counted: Counter[int] = Counter()
    found = _read(native.sizes(keys, lengths))
    for length, number in zip(found[::2], found[1::2], strict=True):
        counted[length] += number
    return counted


def total(numbers: array[int], start: int = 0, stop: int | None = None) -> int:
    """Sum up the numbers from one place to another."""
    stop = len(numbers) if stop is None else stop
    return sum(numbers[start:stop]) if native is None else native.total(memoryview(numbers)[start:stop])


def _read(written: bytes) -> array[int]:
    numbers = array("q")
    numbers.frombytes(written)
    return numbers
