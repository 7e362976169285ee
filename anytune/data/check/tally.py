"""Count faults by code, and keep the first of each with the place where it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from anytune.data.check import scan
from anytune.data.check.fault import Fault, Sighting, json_path
from anytune.data.check.rules import RULES
from anytune.data.check.rules.base import DataMethod, Minded
from anytune.data.column import columns
from anytune.data.quote import quote
from anytune.schema.data import Issue


class Terms(NamedTuple):
    """Hold what a run asks for: who minds what, under which method, and how many issues of a code to show."""

    minded: Mapping[str, Minded]
    method: DataMethod
    show: int


class Tally:
    """Collect the faults of a file or a part of it; positions are worked out for those that are shown only."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.counts: Counter[str] = Counter()
        self.sightings: list[Sighting] = []

    def add(self, faults: list[Fault], *, line: bytes, number: int, start: int) -> None:
        """Count the faults of one line, which is the `number`th and begins at byte `start` of the file."""
        kept = [fault for fault in faults if self.counted(fault)]
        if kept:
            if any(fault.code == "invalid-json" for fault in kept):
                kept = [_explained(fault, line) for fault in kept]
            self.sightings += _placed(kept, line, number, start)

    def whole(self, fault: Fault) -> None:
        """Count a fault of the whole file."""
        if self.counted(fault):
            self.sightings.append(Sighting(fault))

    def minded(self, faults: list[Fault]) -> tuple[str, ...]:
        """Return the codes of those faults that somebody minds."""
        return tuple([fault.code for fault in faults if self._is_minded(fault)])

    def _is_minded(self, fault: Fault) -> bool:
        minded = self.terms.minded.get(fault.code)
        return minded is not None and (fault.among is None or minded.narrowed(fault.among) is not None)

    def counted(self, fault: Fault) -> bool:
        """Count a fault and tell whether it is to be shown."""
        if not self._is_minded(fault):
            return False
        self.counts[fault.code] += 1
        return self.counts[fault.code] <= self.terms.show

    def merge(self, other: Tally, *, lines: int) -> None:
        """Take in the tally of the part that follows after so many lines."""
        for sighting in other.sightings:
            code = sighting.fault.code
            self.counts[code] += 1
            if self.counts[code] <= self.terms.show:
                moved = sighting.line if sighting.line is None else sighting.line + lines
                self.sightings.append(sighting._replace(line=moved))
        shown = Counter(sighting.fault.code for sighting in other.sightings)
        self.counts += other.counts - shown

    def issues(self) -> list[Issue]:
        """Return what is shown in the order of the file, what holds for the whole of it first."""
        found = sorted(self.sightings, key=lambda seen: (seen.line or 0, seen.column or 0))
        return [self._issue(seen) for seen in found]

    def _issue(self, seen: Sighting) -> Issue:
        fault, rule = seen.fault, RULES[seen.fault.code]
        minded = self.terms.minded[fault.code].narrowed(fault.among)
        assert minded is not None  # it was counted
        return Issue(
            code=fault.code,
            level=minded.level,
            message=rule.message.format(value=quote(fault.value)),
            line=seen.line,
            column=seen.column,
            offset=seen.offset,
            path=(fault.where or json_path(fault.path)) if seen.line is not None else None,
            fix=(rule.hint(fault.value) if rule.hint else None) or rule.fix,
            providers=minded.holders,
        )


def _explained(fault: Fault, line: bytes) -> Fault:
    """Return a fault of broken JSON with what breaks it, and where; that is worked out only when it is shown."""
    if fault.code != "invalid-json" or fault.offset is not None:
        return fault
    found, _ = scan.faults(line)
    return next((other for other in found if other.code == fault.code), fault._replace(offset=0))


def _placed(faults: list[Fault], line: bytes, number: int, start: int) -> list[Sighting]:
    """Place the faults, columns counted in characters from 1, with one walk and one sweep over the line."""
    wanted = {fault.path for fault in faults if fault.offset is None}
    places = scan.places(line, wanted) if wanted else {}
    offsets = [_offset(fault, places) for fault in faults]
    column = columns(line, (offset for offset in offsets if offset is not None))
    return [
        Sighting(fault, number) if offset is None else Sighting(fault, number, start + offset, column[offset])
        for fault, offset in zip(faults, offsets, strict=True)
    ]


def _offset(fault: Fault, places: dict[tuple[str | int, ...], scan.Place]) -> int | None:
    if fault.offset is not None:
        return fault.offset
    place = places.get(fault.path)
    if place is None:
        return None
    return place.key if fault.at_key and place.key is not None else place.value
