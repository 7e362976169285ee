"""Find private values in one text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol

from anytune.data.privacy import account, contact, identity, network, number, secret
from anytune.data.privacy.escape import Origins, layers
from anytune.data.privacy.kind import chosen
from anytune.data.privacy.report import PLACEHOLDER, Finding

# Each bit is what one cheap look at a text can rule out. Plain integers: an IntFlag costs more than the look.
AT, NUMBER, CODICE, V4, V6, RUN, WORD, PEM = (1 << bit for bit in range(8))
ALL = (1 << 8) - 1
_START = attrgetter("start")
_SHORTEST = 6  # characters: a@b.co
_WINDOW = 1 << 17  # characters looked at in one go
_BEFORE, _AFTER = 1 << 9, 1 << 15  # of its neighbours: what is near a value, and a whole private key


class Finder(Protocol):
    """Find values of further kinds in a text, as an adapter such as `names.presidio` does."""

    def __call__(self, text: str, /) -> Iterable[Finding]:
        """Return the findings in a text."""


class _Detector(NamedTuple):
    families: int
    kinds: frozenset[str]
    find: Callable[[str], Iterator[Finding]]


def _numbers(text: str) -> Iterator[Finding]:
    spans = tuple(number.windows(text))
    for find in (account.ibans, account.cards, identity.numbers, contact.phones):
        for start, end in spans:
            yield from find(text, start, end)


# Where two findings overlap, the detector that stands first here is right.
_DETECTORS = tuple(
    _Detector(family, frozenset(kinds.split()), find)
    for family, kinds, find in (
        (PEM, "private-key", secret.private_keys),
        (RUN, "jwt key", secret.tokens),
        (AT, "key", secret.logins),
        (WORD, "key", secret.assignments),
        (AT, "email", contact.emails),
        (CODICE, "national-id", identity.codes),
        (NUMBER, "iban card national-id phone", _numbers),
        (V4 | V6, "ip", network.addresses),
    )
)


def find(text: str, *, kinds: Iterable[str] | None = None) -> list[Finding]:
    """Return the private values in a text in its order, apart from each other; escapes hide none.

    Where two overlap, the surer kind is kept. Placeholders such as <EMAIL_1> are no findings.
    """
    return among(text, chosen(kinds), ALL)


def among(text: str, kinds: frozenset[str], families: int, *, also: Finder | None = None) -> list[Finding]:
    """Return the findings of these kinds, looking only for what the families may hold."""
    if len(text) < _SHORTEST and also is None:
        return []
    texts = layers(text) if "\\" in text else [text]
    kept = _in_windows(texts[-1], _finders(kinds, families))
    if also is not None:
        _keep(_real(also(texts[-1]), texts[-1]), kept)
    if not kept:
        return kept
    found = [finding for finding in kept if finding.kind in kinds]
    for outer in reversed(texts[:-1]):
        offsets = Origins(outer)
        found = [Finding(f.kind, offsets[f.start], offsets[f.end]) for f in found]
    return found


def _in_windows(text: str, finders: Iterable[Callable[[str], Iterator[Finding]]]) -> list[Finding]:
    """Return what the finders find, part by part: a pattern's memory grows with the text that it runs over."""
    kept: list[Finding] = []
    if len(text) <= _WINDOW:
        for find in finders:
            _keep(find(text), kept)
        return kept
    for start in range(0, len(text), _WINDOW):
        first = max(0, start - _BEFORE)
        part, here = text[first : start + _WINDOW + _AFTER], list[Finding]()
        for find in finders:
            _keep(find(part), here)
        for finding in here:
            if max(start, kept[-1].end if kept else 0) <= finding.start + first < start + _WINDOW:
                kept.append(Finding(finding.kind, finding.start + first, finding.end + first))
    return kept


def families(kinds: frozenset[str]) -> int:
    """Return the families that may hold these kinds."""
    wanted = 0
    for detector in _DETECTORS:
        if detector.kinds & kinds:
            wanted |= detector.families
    return wanted


@lru_cache(maxsize=1 << 10)
def _finders(kinds: frozenset[str], families: int) -> tuple[Callable[[str], Iterator[Finding]], ...]:
    return tuple(d.find for d in _DETECTORS if d.families & families and d.kinds & kinds)


def _real(found: Iterable[Finding], text: str) -> Iterator[Finding]:
    """Yield what an adapter found, but for what is empty or touches a placeholder, which reads like a name."""
    held = [placeholder.span() for placeholder in PLACEHOLDER.finditer(text)]
    for finding in found:
        if finding.start < finding.end and all(end <= finding.start or finding.end <= start for start, end in held):
            yield finding


def _keep(new: Iterable[Finding], kept: list[Finding]) -> None:
    """Put those that overlap none into the list, which stays in the text's order."""
    for finding in new:
        at = bisect_left(kept, finding.start, key=_START)
        is_free = at == len(kept) or finding.end <= kept[at].start
        if is_free and (at == 0 or kept[at - 1].end <= finding.start):
            kept.insert(at, finding)
