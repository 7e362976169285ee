"""Compare the records of a file with one another, once all have been seen.

Records whose prompts look alike by their keys are read again and compared by what they say; the others cost nothing.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import msgspec

from anytune.data.check import gather
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.rows import Row, Rows
from anytune.data.check.seen import OUTPUTS
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Terms
from anytune.data.prompt import loosened
from anytune.data.quote import Plain

MOST_KEYS = 200_000  # that are compared at once
FEWEST_FOR_OUTLIERS = 100
FAR = 8.0  # times the median absolute deviation, in powers of two of the length
_LEAST_SPREAD = 0.25
_NORMAL = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


class Found(NamedTuple):
    """Count what comparing found, by code, and hold the first places of each in the order of the file."""

    counts: Counter[str]
    sightings: list[Sighting]


def compare(stream: BinaryIO, survey: Survey, terms: Terms, *, start: int = 0) -> Found:
    """Return the faults between the records of a file, whose first line begins at byte `start`."""
    counts: Counter[str] = Counter()
    kept: dict[str, list[tuple[int, Sighting]]] = {}
    found = (_twins(stream, survey.rows, start, terms), _outliers(survey.rows, start))
    for sighting in (sighting for each in found for sighting in each):
        code = sighting.fault.code
        if code not in terms.minded:
            continue
        counts[code] += 1
        line = sighting.line or 0
        heap = kept.setdefault(code, [])
        if len(heap) < terms.show:
            heapq.heappush(heap, (-line, sighting))
        elif heap and heap[0][0] < -line:
            heapq.heapreplace(heap, (-line, sighting))
    return Found(counts, [sighting for heap in kept.values() for _, sighting in heap])


def longest(rows: Rows, *, start: int = 0) -> Row:
    """Return the longest line that holds a record, the first of several."""
    length, line, offset = max(rows.sizes(), default=0), 1, start
    for keys, lengths in rows.pieces():
        place = _first_record(keys, lengths, length)
        if place is not None:
            return Row(line + place, offset + gather.total(lengths, 0, place) + place, length)
        line, offset = line + len(lengths), offset + gather.total(lengths) + len(lengths)
    return Row(0, 0, 0)


def _first_record(keys: array[int], lengths: array[int], length: int) -> int | None:
    """Return the place of the first line of a length that holds a record."""
    place = -1
    with suppress(ValueError):
        while True:
            place = lengths.index(length, place + 1)
            if keys[place]:
                return place
    return None


def _twins(stream: BinaryIO, rows: Rows, start: int, terms: Terms) -> Iterator[Sighting]:
    """Yield what records have in common whose keys are the same; groups of keys are taken in turn, to save memory."""
    groups = max(1, -(-rows.number // MOST_KEYS))
    for group in range(groups):
        several = _repeated(rows, group, groups)
        seen: dict[int, _Seen] = {}
        for key, row in _rows(rows, several, start) if several else ():
            line = _line_at(stream, row)
            alike = seen.get(key)
            if alike is None:
                seen[key] = _Seen({hash(line): row.line}, {}, {}, [row])
                continue
            while alike.waiting and hash(line) not in alike.exact:
                first = alike.waiting.pop()
                _twin(_line_at(stream, first), first.line, alike, terms)
            fault = _twin(line, row.line, alike, terms)
            if fault is not None:
                yield Sighting(fault, row.line, row.offset, 1)


def _line_at(stream: BinaryIO, row: Row) -> bytes:
    stream.seek(row.offset)
    return stream.read(row.length).strip()


def _repeated(rows: Rows, group: int, groups: int) -> array[int]:
    """Return the keys of a group that more than one line has."""
    own: array[int] = array("q")
    for keys in rows.key_pieces():
        if len(keys) == rows.number and groups == 1:
            return gather.repeated(keys)
        own.extend(gather.grouped(keys, group, groups))
    return gather.repeated(own)


def _rows(rows: Rows, wanted: array[int], start: int) -> Iterator[tuple[int, Row]]:
    line, offset = 1, start
    for keys, lengths in rows.pieces():
        at = 0
        for place in gather.places(keys, wanted):
            offset += gather.total(lengths, at, place) + place - at
            yield keys[place], Row(line + place, offset, lengths[place])
            at = place
        line, offset = line + len(lengths), offset + gather.total(lengths, at) + len(lengths) - at


class _Seen(NamedTuple):
    """Hold the first line of each record, of each normalised record, and of each prompt with a hash of its answer.

    The very first is read closely only once there is another that is not the same: it is `waiting` until then.
    """

    exact: dict[int, int]
    normalised: dict[int, int]
    answers: dict[int, tuple[int, int]]
    waiting: list[Row]


def _twin(line: bytes, number: int, seen: _Seen, terms: Terms) -> Fault | None:
    """Return what a record has in common with one before it, and remember it."""
    first = seen.exact.setdefault(hash(line), number)
    if first != number:
        return Fault("duplicate-record", (), Plain(first))
    try:
        record = loosened(_decode(line))
        whole = hash(_encode(record))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    first = seen.normalised.setdefault(whole, number)
    if first != number:
        return Fault("duplicate-normalised", (), Plain(first))
    asked, answers = _said(record)
    if not asked or not answers or terms.method == "rft":
        return None
    return (_contradiction if terms.method == "dpo" else _difference)(asked, answers, number, seen)


def _difference(asked: bytes, answers: tuple[bytes, ...], number: int, seen: _Seen) -> Fault | None:
    first, given = seen.answers.setdefault(hash(asked), (number, hash(answers)))
    return None if given == hash(answers) else Fault("answers-differ", (), Plain(first))


def _contradiction(asked: bytes, answers: tuple[bytes, ...], number: int, seen: _Seen) -> Fault | None:
    own = number, 0
    seen.answers.setdefault(hash((asked, answers)), own)
    first, _ = seen.answers.get(hash((asked, answers[::-1])), own)
    return None if first == number else Fault("preferences-contradict", (), Plain(first))


def _said(record: dict[str, Any]) -> tuple[bytes, tuple[bytes, ...]]:
    """Return what a loosened record asks (with system messages and tools) and what it answers, weights aside.

    Nothing is asked by a record that holds an answer alone.
    """
    if any(key in record for key in OUTPUTS):
        return _encode(record.get("input")), tuple(_encode(record.get(key)) for key in OUTPUTS)
    others = {key: value for key, value in record.items() if key not in ("messages", "weight")}
    messages = record.get("messages")
    if not isinstance(messages, list):
        answer = (_encode(others.pop("completion")),) if "completion" in others else ()
        return _encode(others) if others else b"", answer
    told = [{k: v for k, v in m.items() if k != "weight"} if isinstance(m, dict) else m for m in messages]
    answers = [place for place, m in enumerate(told) if isinstance(m, dict) and m.get("role") == "assistant"]
    cut = answers[-1] if answers else len(told)
    return _encode([told[:cut], others]), (_encode(told[cut:]),) if answers else ()


def _outliers(rows: Rows, start: int) -> Iterator[Sighting]:
    """Yield the records that are far from all others in length, by the median absolute deviation of its logarithm."""
    limits = _limits(rows)
    if limits is None:
        return
    low, high, median = limits
    sizes = rows.sizes()
    if min(sizes) >= low and max(sizes) <= high:
        return
    line, offset = 1, start
    for keys, lengths in rows.pieces():
        if min(lengths, default=high) >= low and max(lengths, default=low) <= high:
            line, offset = line + len(lengths), offset + gather.total(lengths) + len(lengths)
            continue
        for key, length in zip(keys, lengths, strict=True):
            if key and not low <= length <= high:
                said = Plain(f"{length:,} bytes; half of all have up to {median:,}")
                yield Sighting(Fault("length-outlier", (), said), line, offset, 1)
            line, offset = line + 1, offset + length + 1


def _limits(rows: Rows) -> tuple[float, float, int] | None:
    """Return the lengths between which no record is an outlier, and the median; None if there are too few records."""
    bins: Counter[int] = Counter()
    for size, number in rows.sizes().items():
        bins[round(16 * math.log2(size + 1))] += number
    if bins.total() < FEWEST_FOR_OUTLIERS:
        return None
    median = _median(bins)
    reach = FAR * max(_LEAST_SPREAD, _NORMAL * _median(_distances(bins, median)) / 16)
    middle = median / 16
    return 2 ** (middle - reach) - 1, 2 ** (middle + reach) - 1, round(2**middle - 1)


def _distances(bins: Counter[int], median: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for place, count in bins.items():
        found[abs(place - median)] += count
    return found


def _median(bins: Counter[int]) -> int:
    half, seen = (bins.total() + 1) // 2, 0
    for place, count in sorted(bins.items()):
        seen += count
        if seen >= half:
            return place
    return 0
