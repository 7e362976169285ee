"""Count the tokens of one file for several who wish for it, and tell what is longer than they allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING

from anytune.data.check import gather
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.further import Wish
from anytune.data.check.rows import Row, Rows
from anytune.data.check.seen import Seen
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally
from anytune.data.quote import Plain
from anytune.schema.data import Tokens
from anytune.schema.training import OverLength

if TYPE_CHECKING:
    from anytune.data.tokens import Candidate, Cut, Drawn, OverLimit
    from anytune.data.tokens import Counter as TokenCounter

_BYTES_PER_TOKEN = 4.1
_TOKENS_PER_MESSAGE = 4
_FEW = 100  # sampled records that tell whether those of a file can be read
_LONGEST = 20  # records with the most bytes, of which one has the most tokens unless they are much alike
_MOST_BYTES = 1 << 20  # counted in a tenth of a second
FATES: dict[OverLength | None, str] = {
    "refuse": "so a run is refused",
    "drop": "so it is left out",
    "truncate_left": "so the oldest before the answer is cut off",
}


class TokenLook:
    """Count the tokens of a file that was surveyed, whose longest record is given, for one counter after the other.

    What they have in common is done once: the sample is taken apart for all of them.
    """

    def __init__(self, path: Path, survey: Survey, longest: Seen, *, start: int) -> None:
        self.path = path
        self.survey = survey
        self.longest = longest
        self.start = start
        self._known: list[_Counts] = []

    def count(self, wish: Wish, whole: Tally) -> Tokens | None:
        """Count or estimate the tokens of the file; tell of the records over the limit.

        None where most records have no shape that is known: what they say is not known, either.
        """
        if not self._readable:
            return None
        if wish.counter is None:
            return _roughly(self.survey, self.longest)
        if wish.exact:
            from anytune.data.tokens import count_file

            counted = count_file(self.path, wish.counter, limit=wish.limit, shown=whole.terms.show)
            told, over = counted.noun(), counted.over
        else:
            told, over = self._counts(wish.counter).within(wish.limit, whole.terms.show)
        if over is not None:
            _tell_of_cuts(over, wish.over_length, self.survey.rows, self.start, whole)
        return told

    def _counts(self, counter: TokenCounter) -> _Counts:
        known = next((each for each in self._known if each.counter == counter), None)  # it need not be hashable
        if known is None:
            known = _Counts(self, counter)
            self._known.append(known)
        return known

    @cached_property
    def _readable(self) -> bool:
        """Tell whether most records are chats, pairs or texts; where not all can be, a few are looked at."""
        if self.survey.messages >= self.survey.examples:
            return True
        few = self.sample.parts[:_FEW]
        return 2 * sum(bool(part.turns) for part in few) > len(few)

    @cached_property
    def sampled_all(self) -> bool:
        """Tell whether the sample is all records, so that whoever counts it has counted the longest, too."""
        return self.sample.short and sum(bool(part.turns) for part in self.sample.parts) >= self.survey.examples

    @cached_property
    def sample(self) -> Drawn:
        """Return the sampled records, taken apart."""
        from anytune.data.tokens import ENOUGH, Drawn

        return Drawn([line for _, line in sorted(self.survey.sample.lines)[:ENOUGH]])


class _Counts:
    """Be what one counter finds in a file: it estimates once, whatever the limits."""

    def __init__(self, look: TokenLook, counter: TokenCounter) -> None:
        self.counter = counter
        self._look = look
        self._estimated = cache(self._estimate)

    def within(self, limit: int | None, shown: int) -> tuple[Tokens, OverLimit | None]:
        """Return the tokens of the file, and what is over the limit."""
        told = self._estimated()  # before the longest are counted: the words of the sample are most of theirs, too
        over = None if limit is None else self._beyond(limit, shown)
        most = over.longest if over is not None and over.longest > over.limit else self._most
        if not most:
            told = self._estimated(by_size=True)
        told = told.model_copy(update={"longest": max(told.longest, most)})
        if over is not None:
            told = told.model_copy(
                update={"limit": over.limit, "over_limit": over.over + over.likely, "over_limit_tokens": over.tokens}
            )
        return told, over

    def _beyond(self, limit: int, shown: int) -> OverLimit:
        from anytune.data.tokens import OverLimit

        longest = self._estimated().longest
        if self._look.sampled_all and longest <= limit:
            return OverLimit(limit, 0, 0, (), longest)
        return self._over(_candidates(self._look, limit), limit, shown)

    def _estimate(self, *, by_size: bool = False) -> Tokens:
        """Estimate from the sample; `by_size` makes the longest record as long as its bytes let it seem."""
        from anytune.data.tokens import Size, estimate

        survey, longest = self._look.survey, self._look.longest
        return estimate(
            self._look.sample,
            records=survey.examples,
            content_bytes=survey.content,
            messages=survey.messages,
            counter=self.counter,
            largest=Size(longest.messages, longest.content, 0) if by_size else None,
        )

    @cached_property
    def _most(self) -> int:
        """Return the tokens of the longest record, 0 if it is too long to be counted.

        It is the one with the most tokens among those with the most bytes, which are all counted.
        """
        if self._look.sampled_all:
            return self._estimated().longest
        longest, held = nlargest(_LONGEST, _candidates(self._look, 0), key=lambda each: each.content_bytes), 0
        within = [each for each in longest if (held := held + each.content_bytes) <= _MOST_BYTES]
        return self._over(within, 0).longest

    def _over(self, candidates: Iterable[Candidate], limit: int, shown: int = 0) -> OverLimit:
        from anytune.data.tokens import over_limit

        return over_limit(
            self._look.path, candidates, self.counter, limit, shown=shown, take_apart=self._look.sample.take_apart
        )


def _roughly(survey: Survey, longest: Seen) -> Tokens:
    expected, most = (s.content / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * s.messages for s in (survey, longest))
    return Tokens(
        low=round(expected * 0.75),
        expected=round(expected),
        high=round(expected * 1.25),
        longest=round(most),
        basis="rough: UTF-8 bytes of the contents / 4.1, plus 4 a message; no tokenizer was used",
    )


def _candidates(look: TokenLook, limit: int) -> Iterable[Candidate]:
    """Yield each record that may be longer than so many tokens: none is below a byte."""
    from anytune.data.tokens import Candidate

    line, offset = 1, look.start
    for keys, lengths in look.survey.rows.pieces():
        if max(lengths, default=0) > limit:
            for key, length in zip(keys, lengths, strict=True):
                if key and length > limit:
                    yield Candidate(line, offset, length)
                line, offset = line + 1, offset + length + 1
        else:
            line, offset = line + len(lengths), offset + gather.total(lengths) + len(lengths)


def _tell_of_cuts(over: OverLimit, policy: OverLength | None, rows: Rows, start: int, whole: Tally) -> None:
    """Tell of the records over a limit; whole answers are lost only where the end is cut off."""

    def code_of(cut: Cut) -> str:
        return "answer-cut-off" if cut.lost >= 1 and policy not in FATES else "over-limit"

    lost = Counter(map(code_of, over.cuts))
    gone = 0 if policy in FATES else over.answers_lost
    counted = {"answer-cut-off": gone, "over-limit": over.over - gone + over.likely}
    offsets = _offsets_of({cut.line for cut in over.cuts}, rows, start)
    for cut in over.cuts:
        sighting = Sighting(Fault(code_of(cut), (), _cut(cut, over.limit, policy)), cut.line, offsets.get(cut.line), 1)
        if whole.counted(sighting.fault):
            whole.sightings.append(sighting)
    for code, number in counted.items():
        if code in whole.terms.minded and number > lost[code]:
            whole.counts[code] += number - lost[code]


def _cut(cut: Cut, limit: int, policy: OverLength | None) -> Plain:
    over = f"{cut.tokens:,} tokens; the limit is {limit:,}"
    if policy in FATES:
        return Plain(f"{over}, {FATES[policy]}")
    lost = (
        "all of the answer" if cut.lost >= 1 else f"{cut.lost:.0%} of the answer" if cut.lost else "none of the answer"
    )
    return Plain(f"{over}, which cuts off {lost}")


def _offsets_of(wanted: set[int], rows: Rows, start: int) -> dict[int, int]:
    """Return the byte offsets of some lines."""
    return {row.line: row.offset for row in _of_all(rows, start) if row.line in wanted} if wanted else {}


def _of_all(rows: Rows, start: int) -> Iterable[Row]:
    line, offset = 1, start
    for _, lengths in rows.pieces():
        for length in lengths:
            yield Row(line, offset, length)
            line, offset = line + 1, offset + length + 1
