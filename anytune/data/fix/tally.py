"""Count what was done by code, and remember the first places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from anytune.data.fix.fixed import Change
from anytune.data.fix.record import Step
from anytune.schema.data import Level

PLACES = 6  # lines that are remembered of one kind
NAMES = 20  # different names that are counted of one kind


class Tally:
    """Collect steps of one sort, done or left, in the order in which their kinds were first met."""

    def __init__(self, level: Callable[[str], Level]) -> None:
        self._level = level
        self._counts: Counter[tuple[str, str, bool]] = Counter()
        self._lines: dict[tuple[str, str, bool], list[int]] = {}
        self._names: dict[tuple[str, str, bool], Counter[str]] = {}

    def add(self, steps: Iterable[Step], number: int | None = None) -> None:
        """Take in steps of one line, or of the whole file if it has no number."""
        for step in steps:
            kind = (step.code, step.what, step.asks)
            self._counts[kind] += step.times
            lines = self._lines.setdefault(kind, [])
            if number is not None and len(lines) < PLACES and number not in lines:
                lines.append(number)
            names = self._names.setdefault(kind, Counter())
            for name in step.names:
                if name in names or len(names) < NAMES:
                    names[name] += 1

    def changes(self) -> tuple[Change, ...]:
        """Return the kinds with their counts, the safe ones first."""
        found = [
            Change(
                code=code,
                what=what,
                count=count,
                level=self._level(code),
                asks=asks,
                lines=tuple(self._lines[code, what, asks]),
                names=dict(self._names[code, what, asks].most_common()),
            )
            for (code, what, asks), count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda change: change.asks))

    def count(self, code: str, what: str) -> int:
        """Return how often a code led to this."""
        return sum(self._counts[code, what, asks] for asks in (True, False))
