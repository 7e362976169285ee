"""Count faults by code and turn the first of each into issues with a position."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from anytune.data.check import scan
from anytune.data.check.fault import Fault, json_path
from anytune.data.check.rules import RULES
from anytune.data.quote import quote
from anytune.schema.data import Issue, Level
from anytune.schema.spec import Method


class Terms(NamedTuple):
    """Hold what a run asks for: whom to please, under which method, and how many issues of a code to show."""

    levels: dict[str, tuple[Level, tuple[str, ...]]]
    method: Method
    show: int


class Tally:
    """Collect the faults of one file; positions are worked out for those that are shown only."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._issues: list[Issue] = []
        self.counts: Counter[str] = Counter()

    def add(self, faults: list[Fault], *, number: int | None = None, line: bytes | None = None) -> None:
        """Count faults of one line, or of the whole file if it has no number."""
        kept: list[Fault] = []
        for fault in faults:
            if fault.code in self._terms.levels:
                self.counts[fault.code] += 1
                if self.counts[fault.code] <= self._terms.show:
                    kept.append(fault)
        if kept:
            columns = _columns(kept, line) if line is not None else [None] * len(kept)
            self._issues += [self._issue(fault, number, c) for fault, c in zip(kept, columns, strict=True)]

    def issues(self, level: Level) -> tuple[Issue, ...]:
        """Return the kept issues of a level in the order of the file."""
        found = [issue for issue in self._issues if issue.level == level]
        return tuple(sorted(found, key=lambda issue: (issue.line or 0, issue.column or 0)))

    def _issue(self, fault: Fault, number: int | None, column: int | None) -> Issue:
        rule = RULES[fault.code]
        level, providers = self._terms.levels[fault.code]
        return Issue(
            code=fault.code,
            level=level,
            message=rule.message.format(value=quote(fault.value)),
            line=number,
            column=column,
            path=json_path(fault.path) if number is not None else None,
            fix=(rule.hint(fault.value) if rule.hint else None) or rule.fix,
            providers=providers,
        )


def _columns(faults: list[Fault], line: bytes) -> list[int | None]:
    """Return the columns, counted in characters from 1, with one walk and one sweep over the line."""
    wanted = {fault.path for fault in faults if fault.offset is None}
    places = scan.places(line, wanted) if wanted else {}
    offsets = [_offset(fault, places) for fault in faults]
    columns: dict[int | None, int | None] = {None: None}
    seen, characters = 0, 1
    for offset in sorted({offset for offset in offsets if offset is not None}):
        characters += len(line[seen:offset].decode(errors="replace"))
        columns[offset] = characters
        seen = offset
    return [columns[offset] for offset in offsets]


def _offset(fault: Fault, places: dict[tuple[str | int, ...], scan.Place]) -> int | None:
    if fault.offset is not None:
        return fault.offset
    place = places.get(fault.path)
    if place is None:
        return None
    return place.key if fault.at_key and place.key is not None else place.value
