"""Keep the books of a conversion: what was met, written, and lost, the first of each loss with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from anytune.data.convert.loss import LEFT_OUT, WHY, Note
from anytune.data.convert.recognise import Seen
from anytune.data.convert.result import Conversion, Kind, Loss, Recognised
from anytune.data.path import json_path
from anytune.data.quote import quote


class Place(NamedTuple):
    """Be where a record stands in the old file."""

    record: int
    line: int | None


class Ledger:
    """Count, and keep at most `show` losses of a code."""

    def __init__(self, show: int) -> None:
        self._show = show
        self._seen: dict[str, Seen] = {}
        self._formats: Counter[str] = Counter()
        self._losses: list[Loss] = []
        self._counts: Counter[str] = Counter()
        self.kind: Kind | None = None
        self.read = self.written = self.left_out = self.joined = 0

    def met(self, seen: Seen) -> None:
        """Count a record of a format; the first one's keys are named."""
        self._formats[seen.format] += 1
        before = self._seen.setdefault(seen.format, seen)
        if before.sure == "certain" and seen.sure == "likely":
            self._seen[seen.format] = seen

    def noted(self, notes: Iterable[Note], place: Place) -> None:
        """Count what a record lost that was written all the same."""
        for note in notes:
            self._add(note, place)

    def out(self, note: Note, place: Place) -> None:
        """Count a record that is left out."""
        self.left_out += 1
        self._add(note, place)

    def closed(self, path: Path, out: Path, to: str, container: str) -> Conversion:
        """Return the account of the finished conversion."""
        return Conversion(
            path=path,
            out=out if self.written else None,
            to=to,
            kind=self.kind,
            container=container,
            formats=tuple(
                Recognised(format=name, records=number, sure=self._seen[name].sure, by=self._seen[name].by)
                for name, number in self._formats.most_common()
            ),
            read=self.read,
            written=self.written,
            left_out=self.left_out,
            joined=self.joined,
            losses=tuple(sorted(self._losses, key=lambda loss: loss.record)),
            counts=dict(sorted(self._counts.items())),
        )

    def _add(self, note: Note, place: Place) -> None:
        self._counts[note.code] += 1
        if self._counts[note.code] > self._show:
            return
        self._losses.append(
            Loss(
                code=note.code,
                record=place.record,
                line=place.line,
                path=json_path(note.path),
                what="" if note.what is None else quote(note.what),
                why=WHY[note.code],
                left_out=note.code in LEFT_OUT,
            )
        )
