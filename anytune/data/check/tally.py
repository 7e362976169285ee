"""Count faults by code, and keep the first of each with the place where it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from anytune.data.check import scan
from anytune.data.check.fault import Fault, Kind, Sighting, json_path
from anytune.data.check.rules import RULES
from anytune.data.check.rules.base import DataMethod, Minded
from anytune.data.column import columns
from anytune.data.quote import quote
from anytune.schema.data import Issue

_OF_BYTES = frozenset({"not-utf-8", "lone-carriage-return"})


class Terms(NamedTuple):
    """Hold what a run asks for: who minds what, under which method, and how many issues of a code to show."""

    minded: Mapping[str, Minded]
    method: DataMethod
    show: int


def together(all_terms: Iterable[Terms], method: DataMethod, show: int) -> Terms:
    """Return terms that mind all that one of these minds."""
    minded: dict[str, Minded] = {}
    for code, who in ((code, who) for terms in all_terms for code, who in terms.minded.items()):
        known = minded.get(code, Minded((), ()))
        minded[code] = Minded(*(tuple(dict.fromkeys(a + b)) for a, b in zip(known, who, strict=True)))
    return Terms(minded, method, show)


class Tally:
    """Collect the faults of a file or a part of it; positions are worked out for those that are shown only.

    Of each kind the first are shown: so many that `narrowed` has enough of a code, whoever minds it.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.counts: Counter[str] = Counter()
        self.sightings: list[Sighting] = []
        self._kinds: Counter[Kind] = Counter()

    def add(self, faults: list[Fault], *, line: bytes, number: int, start: int) -> None:
        """Count the faults of one line, which is the `number`th and begins at byte `start` of the file."""
        kept = [_explained(fault, line) for fault in faults if self.counted(fault)]
        if kept:
            self.sightings += _placed(kept, line, number, start)

    def whole(self, fault: Fault) -> None:
        """Count a fault of the whole file."""
        if self.counted(fault):
            self.sightings.append(Sighting(fault))

    def minded(self, faults: list[Fault]) -> tuple[Kind, ...]:
        """Return the kinds of those faults that somebody minds."""
        return tuple([fault.kind for fault in faults if self._minds(fault.kind)])

    def _minds(self, kind: Kind) -> bool:
        code, among = kind
        minded = self.terms.minded.get(code)
        return minded is not None and (among is None or minded.narrowed(among) is not None)

    def counted(self, fault: Fault) -> bool:
        """Count a fault and tell whether it is to be shown."""
        kind = fault.kind
        if not self._minds(kind):
            return False
        self.counts[fault.code] += 1
        self._kinds[kind] += 1
        return self._kinds[kind] <= self.terms.show

    def has_shown(self, kinds: tuple[Kind, ...]) -> bool:
        """Tell whether no more faults of these kinds are to be shown."""
        return all(self._kinds[kind] >= self.terms.show for kind in kinds)

    def count(self, kinds: Counter[Kind]) -> None:
        """Count faults that are not shown."""
        self._kinds += kinds
        for (code, _), number in kinds.items():
            self.counts[code] += number

    def merge(self, other: Tally, *, lines: int) -> None:
        """Take in the tally of the part that follows after so many lines."""
        for sighting in other.sightings:
            kind = sighting.fault.kind
            self._kinds[kind] += 1
            if self._kinds[kind] <= self.terms.show:
                moved = sighting.line if sighting.line is None else sighting.line + lines
                self.sightings.append(sighting._replace(line=moved))
        self._kinds += other._kinds - Counter(sighting.fault.kind for sighting in other.sightings)
        self.counts += other.counts

    def narrowed(self, terms: Terms) -> Tally:
        """Return what this tally would be, had it been made under these terms, which mind no more than its own."""
        own = Tally(terms)
        shown: Counter[str] = Counter()
        for sighting in self.sightings:
            if own._minds(sighting.fault.kind) and shown[sighting.fault.code] < terms.show:
                shown[sighting.fault.code] += 1
                own.sightings.append(sighting)
        own._kinds += Counter({kind: number for kind, number in self._kinds.items() if own._minds(kind)})
        others: Counter[str] = Counter()
        for kind, number in self._kinds.items():
            others[kind[0]] += 0 if kind in own._kinds else number
        own.counts += Counter({c: number - others[c] for c, number in self.counts.items() if c in terms.minded})
        return own

    def take(self, other: Tally) -> None:
        """Add what a tally of the same file found of other codes, as far as it is minded here."""
        found = other.narrowed(self.terms)
        self.counts += found.counts
        self.sightings += found.sightings

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
    """Return a fault of a byte with the path to it, one of broken JSON with what breaks it: only if it is shown."""
    if fault.code in _OF_BYTES:
        return fault._replace(path=scan.path_at(line, fault.offset or 0))
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
