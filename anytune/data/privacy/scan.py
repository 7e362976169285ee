"""Scan a file of examples for private values: one pass, little memory, and no value in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from anytune.data import input, sniff
from anytune.data.column import columns
from anytune.data.lines import Lines
from anytune.data.privacy import screen
from anytune.data.privacy.kind import NAME, chosen
from anytune.data.privacy.line import Line, Piece, is_json, offsets, paths, pieces
from anytune.data.privacy.report import Finding, masked
from anytune.data.privacy.secret import SHORTEST_KEY
from anytune.data.privacy.text import ALL, Finder, among
from anytune.errors import RefusedError
from anytune.schema.data import PrivacyReport, PrivacySample

Found = list[tuple[Piece, list[Finding]]]

SAMPLES = 5
LONGEST = 6 << 20  # bytes: a longer line is left unread, for time and memory grow with it
_FIXES = {
    "parquet": "convert it to JSON lines first",
    "utf-16": "save it as UTF-8 first",
}


def scan(
    path: str | Path,
    *,
    engine: str = "auto",
    kinds: Iterable[str] | None = None,
    names: Finder | None = None,
    samples: int = SAMPLES,
) -> PrivacyReport:
    """Count the private values in the strings, keys and long numbers of a JSON lines file.

    `kinds` are those to look for, all for None; `names` finds further ones, at its own pace. A line that is no JSON is
    looked at as it stands. The first `samples` of each kind are shown with their places. Raise UsageError where there
    is no such kind or engine, RefusedError where the file cannot be read or holds no lines.
    """
    path = Path(path)
    looker = Looker(chosen(kinds), engine=engine, names=names)
    tally = Tally(path, looker, samples=samples)
    with opened(path) as stream:
        lines = Lines(stream, longest=LONGEST, hashed=False)
        number = 1
        for offset, held, _ in lines.blocks():
            if held is None:
                tally.pass_over()
                number += 1
                continue
            text = bytes(held)
            tally.see(text.split(b"\n"))
            for line, found in looker.look_through(text, number=number, offset=offset):
                tally.add(line, found)
            number += text.count(b"\n")
        return tally.report(lines.size)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of lines; raise RefusedError as for any, and if its values are packed where no scan sees them."""
    with input.opened(path) as stream:
        what = sniff.kind(stream.read(sniff.HEAD))
        if what in sniff.ARCHIVES.values() or what in _FIXES:
            fix = _FIXES.get(what, "unpack it first")
            raise RefusedError(f"{path} is {what}: what it holds cannot be seen", fix=fix)
        stream.seek(0)
        yield stream


class Looker:
    """Look at lines for the chosen kinds, by an engine and perhaps a finder of names."""

    def __init__(self, kinds: frozenset[str], *, engine: str = "auto", names: Finder | None = None) -> None:
        self.kinds = kinds | {NAME} if names else kinds
        self._screen = screen.make(engine, kinds)
        self._names = names

    @property
    def engine(self) -> str:
        """Return the engine's name."""
        return self._screen.engine

    def look_through(self, text: bytes, *, number: int = 1, offset: int = 0) -> Iterator[tuple[Line, Found]]:
        """Yield the lines of a text that hold findings, each with what it holds; the first one's place is given."""
        families = self._screen.lines(text)
        counted = 0
        for start in sorted(families) if self._names is None else _starts(text):
            end = text.find(b"\n", start)
            line = text[start:end] if end >= 0 else text[start:]
            if found := self._among(line, families.get(start, 0)):
                number += text.count(b"\n", counted, start)
                counted = start
                yield Line(number, offset + start, line), found

    def look(self, line: bytes) -> Found:
        """Return the pieces of a line that hold findings, in its order."""
        return self._among(line, self._screen.line(line))

    def find(self, text: str, families: int = ALL) -> list[Finding]:
        """Return the findings in one text."""
        return among(text, self.kinds, families, also=self._names)

    def _among(self, line: bytes, families: int) -> Found:
        if not families and self._names is None:
            return []
        least = SHORTEST_KEY if self._names is None else 0
        looked_at = pieces(line, shortest_word=least)
        return [(piece, found) for piece in looked_at if (found := self.find(piece.text, families))]


def _starts(text: bytes) -> Iterator[int]:
    start = 0
    while start < len(text):
        yield start
        start = text.find(b"\n", start) + 1 or len(text)


class Tally:
    """Count what was found, and keep the first samples of each kind."""

    def __init__(self, path: Path, looker: Looker, *, samples: int = SAMPLES) -> None:
        self._path = path
        self._looker = looker
        self._most = samples
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, list[PrivacySample]] = {}
        self._records = self._with = self._unread = 0

    def see(self, lines: Iterable[bytes]) -> None:
        """Count the records among some lines: those that are not blank."""
        self._records += sum(map(bool, map(bytes.strip, lines)))

    def pass_over(self) -> None:
        """Count a record that is too long to be looked at."""
        self._records += 1
        self._unread += 1

    def add(self, line: Line, found: Found) -> None:
        """Count the findings of one record."""
        self._with += 1
        self.count(line, found)

    def count(self, line: Line, found: Found) -> None:
        """Count further findings of a record that was counted."""
        shown = []
        for piece, findings in found:
            for finding in findings:
                self._counts[finding.kind] += 1
                if self._counts[finding.kind] <= self._most:
                    shown.append((piece, finding))
        if shown:
            self._show(line, shown)

    def report(self, size: int) -> PrivacyReport:
        """Return the counts, the most frequent kind first; raise RefusedError where there was no record."""
        if not self._records:
            raise input.blank(self._path)
        return PrivacyReport(
            path=self._path,
            bytes=size,
            records=self._records,
            records_with=self._with,
            counts=dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))),
            samples=tuple(sample for kind in sorted(self._samples) for sample in self._samples[kind]),
            unread=self._unread,
            kinds=tuple(sorted(self._looker.kinds)),
            engine=self._looker.engine,
        )

    def _show(self, line: Line, shown: list[tuple[Piece, Finding]]) -> None:
        """Keep samples with their places, which are worked out for no others."""
        text = line.text
        where = paths(text, {piece.start for piece, _ in shown}, self._hidden) if is_json(text) else {}
        starts: list[int | None] = [None] * len(shown) if line.offset is None else [*offsets(text, shown)]
        mark = len(sniff.BOM) if line.number == 1 and text.startswith(sniff.BOM) else 0  # no column of the line
        column = columns(text[mark:], (start - mark for start in starts if start is not None))
        for (piece, finding), start in zip(shown, starts, strict=True):
            sample = PrivacySample(
                kind=finding.kind,
                line=line.number,
                column=None if start is None else column[start - mark],
                offset=None if start is None or line.offset is None else line.offset + start,
                path=where.get(piece.start, "$"),
                masked=masked(finding.kind, piece.text[finding.start : finding.end]),
            )
            self._samples.setdefault(finding.kind, []).append(sample)

    def _hidden(self, key: str) -> str:
        """Name a key by what it holds, where it holds something."""
        found = self._looker.find(key)
        return f"<{found[0].kind}>" if found else key
