"""Count all tokens of a file, in as many processes as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anytune.data.content import content, decode
from anytune.data.input import told
from anytune.data.lines import Lines
from anytune.data.tokens.counter import Counter
from anytune.data.tokens.measure import Count, measure_content, remembering
from anytune.data.tokens.over import SHOWN, Cut, OverLimit, cut_of, few_of_each
from anytune.schema.data import Tokens

_SMALL = 8 << 20  # bytes; below, starting a process costs more than it saves
_SPANS = 4  # for each process, so that none waits long for the last


@dataclass(frozen=True)
class Exact:
    """Be a file counted in full.

    `unreadable` of its `records` (lines that are not blank) hold no JSON object and count as nothing.
    """

    records: int
    unreadable: int
    tokens: int
    trained: int
    longest: int
    longest_line: int
    over: OverLimit | None
    basis: str
    exact: bool
    error: float = 0.0

    @property
    def masked(self) -> int:
        """Return how many tokens are read but not learnt."""
        return self.tokens - self.trained

    def noun(self) -> Tokens:
        """Return the count as it stands in a report."""
        return Tokens(
            low=round(self.tokens * (1 - self.error)),
            expected=self.tokens,
            high=round(self.tokens * (1 + self.error)),
            longest=self.longest,
            basis=f"{self.basis} on all {self.records:,} records" if self.exact else self.basis,
            method="exact" if self.exact else "rough",
            trained=self.trained,
            masked=self.masked,
            limit=self.over.limit if self.over else None,
            over_limit=self.over.over if self.over else None,
            over_limit_tokens=self.over.tokens if self.over else None,
        )


def count_file(
    path: Path, counter: Counter, *, limit: int | None = None, processes: int = 1, shown: int = SHOWN
) -> Exact:
    """Count every record of a JSONL file, and those over `limit` tokens, of which `shown` are named.

    A line that holds no record is passed over and counted as unreadable; a file that cannot be read is refused.
    """
    with told(path):
        size = path.stat().st_size
        if processes < 2 or size < _SMALL:
            total = _count_span(path, (0, size), counter, limit, shown)
        else:
            total = _count_together(path, counter, limit, processes, shown)
    over = None
    if limit is not None:
        over = OverLimit(
            limit, total.over, total.answers_lost, tuple(total.cuts), total.longest, tokens=total.over_tokens
        )
    return Exact(
        records=total.records,
        unreadable=total.unreadable,
        tokens=total.tokens,
        trained=total.trained,
        longest=total.longest,
        longest_line=total.longest_line,
        over=over,
        basis=counter.basis,
        exact=counter.exact,
        error=counter.error,
    )


@dataclass
class _Total:
    """Add up the records of a span of a file; lines count from the first of the span."""

    shown: int
    lines: int = 0
    records: int = 0
    unreadable: int = 0
    tokens: int = 0
    trained: int = 0
    longest: int = 0
    longest_line: int = 0
    over: int = 0
    over_tokens: int = 0
    answers_lost: int = 0
    cuts: list[Cut] = field(default_factory=list)

    def see(self, line: bytes, counter: Counter, count: Count, limit: int | None) -> None:
        """Take in the line that has just been reached."""
        record = decode(line)
        if not isinstance(record, dict):
            self.unreadable += 1
            return
        counted = measure_content(content(record), counter, count)
        self.tokens += counted.tokens
        self.trained += counted.trained
        if counted.length > self.longest:
            self.longest, self.longest_line = counted.length, self.lines
        cut = None if limit is None else cut_of(self.lines, counted, limit)
        if cut is not None:
            self.over += 1
            self.over_tokens += cut.tokens
            self.answers_lost += cut.lost >= 1
            alike = self.answers_lost if cut.lost >= 1 else self.over - self.answers_lost
            if alike <= self.shown:
                self.cuts.append(cut)

    def add(self, next_span: _Total) -> None:
        """Take in the span that follows."""
        moved = [cut._replace(line=cut.line + self.lines) for cut in next_span.cuts]
        self.cuts = few_of_each([*self.cuts, *moved], self.shown)
        if next_span.longest > self.longest:
            self.longest, self.longest_line = next_span.longest, next_span.longest_line + self.lines
        for name in ("lines", "records", "unreadable", "tokens", "trained", "over", "over_tokens", "answers_lost"):
            setattr(self, name, getattr(self, name) + getattr(next_span, name))


def _count_together(path: Path, counter: Counter, limit: int | None, processes: int, shown: int) -> _Total:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    total = _Total(shown)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        spans = list(_spans(path, processes * _SPANS))
        for counted in [pool.submit(_count_span, path, span, counter, limit, shown) for span in spans]:
            total.add(counted.result())
    return total


def _count_span(path: Path, span: tuple[int, int], counter: Counter, limit: int | None, shown: int) -> _Total:
    """Count the lines between two offsets, both at the start of a line."""
    total, count = _Total(shown), remembering(counter.count)
    with path.open("rb") as stream:
        stream.seek(span[0])
        for number, line in Lines(stream, start=span[0], end=span[1], hashed=False):
            total.lines = number
            if line is None or line.strip():
                total.records += 1
                total.see(line or b"", counter, count, limit)
    return total


def _spans(path: Path, number: int) -> Iterator[tuple[int, int]]:
    """Cut a file into about so many pieces, at line feeds."""
    with path.open("rb") as stream:
        size, start = path.stat().st_size, 0
        for piece in range(1, number + 1):
            stream.seek(size * piece // number)
            stream.readline()
            if stream.tell() > start:
                yield start, stream.tell()
                start = stream.tell()
