"""Look further into a file that holds records, where that is wished for: tokens, likeness, leaks, private data."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import partial
from heapq import nlargest
from itertools import accumulate, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.rows import Row, Rows
from anytune.data.check.seen import Seen
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally
from anytune.data.quote import Plain
from anytune.schema.data import PrivacyReport, Tokens

if TYPE_CHECKING:
    from anytune.data.privacy.text import Finder
    from anytune.data.tokens import Candidate, Cut, OverLimit
    from anytune.data.tokens import Counter as TokenCounter

_BYTES_PER_TOKEN = 4.1
_TOKENS_PER_MESSAGE = 4
_FEW = 100  # sampled records that tell whether those of a file can be read
_LONGEST = 20  # records with the most bytes, of which one has the most tokens unless they are much alike
_MOST_BYTES = 1 << 20  # counted in a tenth of a second
_LEAKS = {"exact": "leak", "prompt": "leak-prompt", "turn": "leak-turn", "near": "leak-near"}


class Wish(NamedTuple):
    """Say how far to look: nothing of it by default.

    `counter` counts tokens, of a sample or `exact`; examples longer than `limit` tokens are told. `against` is a file
    of which nothing may stand in this one. `near` compares by likeness, too. `private` are the kinds of private data
    to look for, `names` finds further ones.
    """

    counter: TokenCounter | None = None
    exact: bool = False
    limit: int | None = None
    against: Path | None = None
    near: bool = False
    private: frozenset[str] = frozenset()
    names: Finder | None = None


NOTHING = Wish()


def tokens(path: Path, survey: Survey, longest: Seen, start: int, whole: Tally, wish: Wish) -> Tokens | None:
    """Count or estimate the tokens of a file, whose longest record is given; tell of those over the limit.

    None where most records have no shape that is known: what they say is not known, either.
    """
    if not _readable(survey):
        return None
    if wish.counter is None:
        return _roughly(survey, longest)
    from anytune.data.tokens import ENOUGH, Size, count_file, estimate

    if wish.exact:
        counted = count_file(path, wish.counter, limit=wish.limit, shown=whole.terms.show)
        if counted.over is not None:
            _tell_of_cuts(counted.over, survey.rows, start, whole)
        return counted.noun()
    sample = [line for _, line in sorted(survey.sample.lines)[:ENOUGH]]
    estimated = partial(
        estimate,
        sample,
        records=survey.examples,
        content_bytes=survey.content,
        messages=survey.messages,
        counter=wish.counter,
    )
    told = estimated()  # before the longest are counted: the words of the sample are most of theirs, too
    most, over = _of_longest(path, survey.rows, start, whole, wish, wish.counter)
    if not most:
        told = estimated(largest=Size(longest.messages, longest.content, 0))
    told = told.model_copy(update={"longest": max(told.longest, most)})
    if over is None:
        return told
    _tell_of_cuts(over, survey.rows, start, whole)
    return told.model_copy(update={"limit": over.limit, "over_limit": over.over + over.likely})


def leaks(path: Path, whole: Tally, wish: Wish) -> None:
    """Tell of the records that stand in the held-out file, too."""
    if wish.against is None:
        return
    from anytune.data.leak import leaks as found_in

    for leak in found_in(path, wish.against, near=wish.near):
        said = Plain(f"line {leak.other_line} of {wish.against.name}{_alike(leak.similarity)}")
        _tell(whole, Sighting(Fault(_LEAKS[leak.kind], (), said), leak.line, leak.offset, 1))


def likeness(path: Path, survey: Survey, start: int, whole: Tally, wish: Wish) -> None:
    """Tell of the records that are nearly another."""
    if not wish.near:
        return
    from anytune.data.near import near_pairs, reread
    from anytune.data.prompt import records, said

    texts = ((offset, said(line)) for _, offset, line in records(path))
    pairs = near_pairs(texts, again=partial(reread, path))
    # A copy is a duplicate, which has its own code.
    found = sorted((pair.b, pair.a, pair.similarity) for pair in pairs if pair.similarity < 1)
    lines = _lines_at({offset for later, earlier, _ in found for offset in (later, earlier)}, survey.rows, start)
    told: set[int] = set()
    for later, earlier, similarity in found:
        if later not in told:
            told.add(later)
            value = Plain(f"line {lines[earlier]}{_alike(similarity)}")
            _tell(whole, Sighting(Fault("near-duplicate", (), value), lines[later], later, 1))


def private(path: Path, whole: Tally, wish: Wish) -> PrivacyReport | None:
    """Tell of private data."""
    if not wish.private and wish.names is None:
        return None
    from anytune.data.privacy import scan
    from anytune.data.privacy.scan import SAMPLES

    show = whole.terms.show
    report = scan(path, kinds=wish.private, names=wish.names, samples=max(show, SAMPLES))
    if report.unread:
        whole.whole(Fault("not-scanned", value=Plain(f"{report.unread:,}")))
    if "personal-data" in whole.terms.minded and report.counts:
        whole.counts["personal-data"] += sum(report.counts.values())
        for sample in sorted(report.samples, key=attrgetter("offset"))[:show]:
            fault = Fault("personal-data", (), Plain(f"{sample.kind}: {sample.masked}"), where=sample.path)
            whole.sightings.append(Sighting(fault, sample.line, sample.offset, sample.column))
    few = [sample for _, alike in groupby(report.samples, attrgetter("kind")) for sample in islice(alike, SAMPLES)]
    return report.model_copy(update={"samples": tuple(few)})


def _readable(survey: Survey) -> bool:
    """Tell whether most records are chats, pairs or texts; where not all can be, a few of the sample are looked at."""
    if survey.messages >= survey.examples:
        return True
    from anytune.data.content import content, decode

    few = [line for _, line in sorted(survey.sample.lines)[:_FEW]]
    return 2 * sum(bool(content(decode(line)).turns) for line in few) > len(few)


def _of_longest(
    path: Path, rows: Rows, start: int, whole: Tally, wish: Wish, counter: TokenCounter
) -> tuple[int, OverLimit | None]:
    """Return the tokens of the longest record, 0 if it is too long to be counted, and what is over the limit.

    It is the one with the most tokens among those with the most bytes, which are all counted.
    """
    from anytune.data.tokens import over_limit

    if wish.limit is not None:
        over = over_limit(path, _candidates(rows, wish.limit, start), counter, wish.limit, shown=whole.terms.show)
        if over.longest > wish.limit:
            return over.longest, over
    longest, held = nlargest(_LONGEST, _candidates(rows, 0, start), key=lambda each: each.content_bytes), 0
    within = [each for each in longest if (held := held + each.content_bytes) <= _MOST_BYTES]
    counted = over_limit(path, within, counter, 0).longest
    return counted, over if wish.limit is not None else None


def _roughly(survey: Survey, longest: Seen) -> Tokens:
    expected, most = (s.content / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * s.messages for s in (survey, longest))
    return Tokens(
        low=round(expected * 0.75),
        expected=round(expected),
        high=round(expected * 1.25),
        longest=round(most),
        basis="rough: UTF-8 bytes of the contents / 4.1, plus 4 a message; no tokenizer was used",
    )


def _candidates(rows: Rows, limit: int, start: int) -> Iterable[Candidate]:
    """Yield each record that may be longer than so many tokens: none is below a byte."""
    from anytune.data.tokens import Candidate

    line, offset = 1, start
    for keys, lengths in rows.pieces():
        if max(lengths, default=0) > limit:
            for key, length in zip(keys, lengths, strict=True):
                if key and length > limit:
                    yield Candidate(line, offset, length)
                line, offset = line + 1, offset + length + 1
        else:
            line, offset = line + len(lengths), offset + sum(lengths) + len(lengths)


def _tell_of_cuts(over: OverLimit, rows: Rows, start: int, whole: Tally) -> None:
    lost = Counter("answer-cut-off" if cut.lost >= 1 else "over-limit" for cut in over.cuts)
    counted = {"answer-cut-off": over.answers_lost, "over-limit": over.over - over.answers_lost + over.likely}
    offsets = _offsets_of({cut.line for cut in over.cuts}, rows, start)
    for cut in over.cuts:
        code = "answer-cut-off" if cut.lost >= 1 else "over-limit"
        _tell(whole, Sighting(Fault(code, (), _cut(cut, over.limit)), cut.line, offsets.get(cut.line), 1))
    for code, number in counted.items():
        if code in whole.terms.minded and number > lost[code]:
            whole.counts[code] += number - lost[code]


def _cut(cut: Cut, limit: int) -> Plain:
    lost = (
        "all of the answer" if cut.lost >= 1 else f"{cut.lost:.0%} of the answer" if cut.lost else "none of the answer"
    )
    return Plain(f"{cut.tokens:,} tokens; the limit is {limit:,}, which cuts off {lost}")


def _tell(whole: Tally, sighting: Sighting) -> None:
    if whole.counted(sighting.fault):
        whole.sightings.append(sighting)


def _alike(similarity: float) -> str:
    return f" ({similarity:.0%} alike)" if similarity < 1 else ""


def _offsets_of(wanted: set[int], rows: Rows, start: int) -> dict[int, int]:
    """Return the byte offsets of some lines."""
    return {row.line: row.offset for row in _of_all(rows, start) if row.line in wanted} if wanted else {}


def _lines_at(wanted: set[int], rows: Rows, start: int) -> dict[int, int]:
    """Return the numbers of the lines that begin at some offsets; the first begins after a byte order mark."""
    if not wanted:
        return {}
    begins = [*accumulate((length + 1 for _, lengths in rows.pieces() for length in lengths), initial=start)]
    return {offset: max(1, bisect_right(begins, offset)) for offset in wanted}


def _of_all(rows: Rows, start: int) -> Iterable[Row]:
    line, offset = 1, start
    for _, lengths in rows.pieces():
        for length in lengths:
            yield Row(line, offset, length)
            line, offset = line + 1, offset + length + 1
