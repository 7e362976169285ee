"""Find the records that are longer than a model takes, and what of their answers would be cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from anytune.data.content import Content, Size, content, decode
from anytune.data.input import told
from anytune.data.tokens.counter import Counter
from anytune.data.tokens.measure import Count, Counted, measure_content, remembering

TakeApart = Callable[[bytes], Content]
SHOWN = 20
_MOST_RECORDS = 2_000
_MOST_BYTES = 16 << 20  # a second or so
_FEW_BYTES = 1 << 20  # for so many, a part of the vocabulary is cheaper than all of it


class Candidate(NamedTuple):
    """Be a record that may be too long: its line from 1, the offset of that line, and the bytes of its content."""

    line: int
    offset: int
    content_bytes: int


class Cut(NamedTuple):
    """Be a record over the limit: its length in tokens, and the share of its last answer that is cut off."""

    line: int
    tokens: int
    lost: float


class OverLimit(NamedTuple):
    """Report the records over a limit.

    `over` were counted and are longer; of those, `answers_lost` lose all of their last answer, and `cuts` are the
    first few by line that do, and the first few that do not. `uncounted` candidates were beyond the budget of work;
    `likely` of them are over, too, if they have as many tokens a byte as the counted ones. `longest` is the longest
    record counted, in tokens; `tokens` are those of all that are over, and likely so.
    """

    limit: int
    over: int
    answers_lost: int
    cuts: tuple[Cut, ...]
    longest: int
    uncounted: int = 0
    likely: int = 0
    tokens: int = 0


def may_exceed(size: Size, counter: Counter, limit: int) -> bool:
    """Tell whether a record of this size may be longer than the limit: no token is shorter than a byte."""
    return size.content_bytes + counter.per_message * size.messages + counter.per_record > limit


def take_apart(line: bytes) -> Content:
    """Take a line of a file apart."""
    return content(decode(line))


def over_limit(
    path: Path,
    candidates: Iterable[Candidate],
    counter: Counter,
    limit: int,
    *,
    shown: int = SHOWN,
    take_apart: TakeApart = take_apart,
) -> OverLimit:
    """Count those of a file's records that may be over the limit, longest first, within a budget of work.

    All others are surely within the limit, see `may_exceed`. A file that cannot be read is refused. `take_apart` is
    given each line without its end.
    """
    longest_first = sorted(candidates, key=lambda candidate: (-candidate.content_bytes, candidate.line))
    within = _affordable(longest_first)
    with told(path):
        counted = _count(path, within, counter, take_apart)
    cuts = sorted(cut for each, one in zip(within, counted, strict=True) if (cut := cut_of(each.line, one, limit)))
    left = longest_first[len(within) :]
    held = sum(each.content_bytes for each in within)
    ratio = sum(one.length for one in counted) / held if held else 0.0
    likely = [tokens for each in left if (tokens := each.content_bytes * ratio) > limit]
    return OverLimit(
        limit=limit,
        over=len(cuts),
        answers_lost=sum(cut.lost >= 1 for cut in cuts),
        cuts=tuple(few_of_each(cuts, shown)),
        longest=max((one.length for one in counted), default=0),
        uncounted=len(left),
        likely=len(likely),
        tokens=round(sum(likely)) + sum(cut.tokens for cut in cuts),
    )


def cut_of(line: int, counted: Counted, limit: int) -> Cut | None:
    """Return what the limit does to a record, None if it is within."""
    return Cut(line, counted.length, counted.lost(limit)) if counted.length > limit else None


def few_of_each(cuts: Iterable[Cut], shown: int) -> list[Cut]:
    """Return the first of those that lose all of their answer, and of the others: they are two kinds of fault."""
    met = {True: 0, False: 0}
    kept: list[Cut] = []
    for cut in cuts:
        met[cut.lost >= 1] += 1
        if met[cut.lost >= 1] <= shown:
            kept.append(cut)
    return kept


def _affordable(longest_first: list[Candidate]) -> list[Candidate]:
    within: list[Candidate] = []
    held = 0
    for candidate in longest_first[:_MOST_RECORDS]:
        held += candidate.content_bytes
        if within and held > _MOST_BYTES:
            break
        within.append(candidate)
    return within


def _count(path: Path, candidates: list[Candidate], counter: Counter, take_apart: TakeApart) -> list[Counted]:
    if not candidates:
        return []
    with path.open("rb") as stream:

        def read(candidate: Candidate) -> Content:
            stream.seek(candidate.offset)
            return take_apart(stream.readline().removesuffix(b"\n"))

        if sum(candidate.content_bytes for candidate in candidates) > _FEW_BYTES:
            count: Count = remembering(counter.count)
            return [measure_content(read(candidate), counter, count) for candidate in candidates]
        parts = [read(candidate) for candidate in candidates]
    count = counter.counting([text for part in parts for turn in part.turns for text in turn.texts])
    return [measure_content(part, counter, count) for part in parts]
