"""Estimate the tokens of a whole file from a sample of its records, and how far off that may be."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from random import Random
from typing import Literal, NamedTuple

from anytune.data.content import Content, Size, length_of
from anytune.data.tokens.counter import Counter
from anytune.data.tokens.drawn import MOST_CHARACTERS, Drawn
from anytune.data.tokens.measure import Count, Counted, measure_content, own_of
from anytune.schema.data import Tokens

ENOUGH = 1_000  # records: for chats of about 1 KB the interval is then about half a percent either way
_SHORTEST_GLIMPSE = 1 << 11
_NORMAL = 1.96  # standard errors within which 95 % of a normal distribution lie
_ALONE = 0.25  # how far off one record may be for all others, as a share


class _Seen(NamedTuple):
    """Be one sampled record: bytes and tokens of its content, without what the format adds."""

    size: Size
    counted: Counted
    tokens: int


def estimate(
    sample: Drawn,
    *,
    records: int,
    content_bytes: int,
    messages: int,
    counter: Counter,
    trained_bytes: int | None = None,
    largest: Size | None = None,
) -> Tokens:
    """Estimate the tokens of a file from records drawn from it at random, without replacement.

    The tokens of a byte of content are taken from the sample, and multiplied by `content_bytes`, which is exact, as is
    what the chat format adds to `messages` and `records`. low and high are the 95 % interval of that ratio; a sample
    of all records is exact, and its interval has no width. `trained_bytes` of the whole file and the size of its
    `largest` record (both by `content.size`) make `trained` and `longest` better than the sample alone could.
    """
    glimpse, count = _made_ready(sample, counter)
    seen = [_look(part, size, counter, count) for part, size in zip(sample.parts, sample.sizes, strict=True)]
    whole = len(sample.parts) >= records and glimpse is None
    sampled = sum(one.size.content_bytes for one in seen)
    ratio = sum(one.tokens for one in seen) / sampled if sampled else 0.0
    added = counter.per_message * messages + own_of(counter, messages) * records
    expected = ratio * content_bytes + added
    deviation = 0.0 if whole else _deviation(seen, ratio, records) * content_bytes
    spread = hypot(deviation, counter.error * (1 + sample.beyond_ascii) * expected)
    trained = _trained(seen, content_bytes, trained_bytes)
    return Tokens(
        low=max(0, round(expected - spread)),
        expected=round(expected),
        high=round(expected + spread),
        longest=max([round(_by_ratio(largest, ratio, counter)), *(one.counted.length for one in seen)]),
        basis=_basis(counter, len(sample.parts), records, sample.images),
        method=_method(counter, whole),
        trained=trained,
        masked=max(0, round(expected) - trained),
    )


def _made_ready(sample: Drawn, counter: Counter) -> tuple[int | None, Count]:
    """Return how much of a long text is looked at (None for all of it), and a function that counts texts so."""
    texts = sample.texts
    if sample.short:
        return None, _known(texts, counter.counting(texts))
    longest = max(_SHORTEST_GLIMPSE, MOST_CHARACTERS // len(texts))
    count = counter.counting([_glimpse(text, longest) for text in texts])

    def scaled(text: str) -> int:
        window = _glimpse(text, longest)
        return count(window) if window is text else round(count(window) * length_of(text) / length_of(window))

    return longest, _known(texts, scaled)


def _known(texts: Sequence[str], count: Count) -> Count:
    """Return what counts these texts, having counted each that differs from the others: many stand in many records."""
    return {text: count(text) for text in set(texts)}.__getitem__


def _glimpse(text: str, longest: int) -> str:
    """Return a text, or a part of it from a random place, where possible from one space to another."""
    if len(text) <= longest:
        return text
    at = Random(len(text)).randrange(len(text) - longest)
    first = text.find(" ", at, at + longest // 4)
    start = at if first < 0 else first
    last = text.rfind(" ", start + longest // 2, start + longest)
    return text[start : start + longest if last < 0 else last]


def _look(part: Content, size: Size, counter: Counter, count: Count) -> _Seen:
    counted = measure_content(part, counter, count)
    added = counter.per_message * size.messages + (own_of(counter, size.messages) if part.turns else 0)
    return _Seen(size, counted, counted.tokens - added)


def _deviation(seen: list[_Seen], ratio: float, records: int) -> float:
    """Return half the width of the 95 % interval of a ratio (linearised, with the correction for a finite file)."""
    number, sampled = len(seen), sum(one.size.content_bytes for one in seen)
    if number < 2 or not sampled:
        return _ALONE * ratio
    residuals = sum((one.tokens - ratio * one.size.content_bytes) ** 2 for one in seen)
    unseen = max(0.0, 1 - number / records)
    return _student(number - 1) * sqrt(unseen * number * residuals / (number - 1)) / sampled


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, from its expansion around the normal one (within 1 % from 5 on)."""
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _trained(seen: list[_Seen], content_bytes: int, trained_bytes: int | None) -> int:
    of, held = (content_bytes, 1) if trained_bytes is None else (trained_bytes, 2)
    sampled = sum(one.size[held] for one in seen)
    return round(of * sum(one.counted.trained for one in seen) / sampled) if sampled else 0


def _by_ratio(size: Size | None, ratio: float, counter: Counter) -> float:
    if size is None:
        return 0
    return ratio * size.content_bytes + counter.per_message * size.messages + own_of(counter, size.messages)


def _method(counter: Counter, whole: bool) -> Literal["rough", "sampled", "exact"]:
    if not counter.exact:
        return "rough"
    return "exact" if whole else "sampled"


def _basis(counter: Counter, number: int, records: int, images: bool) -> str:
    said = counter.basis
    if counter.exact:
        of = f"on all {records:,} records" if number >= records else f"on {number:,} of {records:,} records"
        said = f"{said} {of}{'' if number >= records else ', 95 % interval'}"
    return f"{said}; images are not counted" if images else said
