"""Look further into a file that holds records, where that is wished for: likeness, leaks, private data."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from itertools import accumulate, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.rows import Rows
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally
from anytune.data.quote import Plain
from anytune.schema.data import PrivacyReport
from anytune.schema.training import OverLength

if TYPE_CHECKING:
    from anytune.data.privacy.text import Finder
    from anytune.data.tokens import Counter as TokenCounter

_LEAKS = {"exact": "leak", "prompt": "leak-prompt", "turn": "leak-turn", "near": "leak-near"}


class Wish(NamedTuple):
    """Say how far to look: nothing of it by default.

    `counter` counts tokens, of a sample or `exact`; examples longer than `limit` tokens are told, with what becomes of
    them: the end is cut off unless `over_length` says otherwise. `against` is a file of which nothing may stand in
    this one. `near` compares by likeness, too. `private` are the kinds of private data
    to look for, `names` finds further ones.
    """

    counter: TokenCounter | None = None
    exact: bool = False
    limit: int | None = None
    over_length: OverLength | None = None
    against: Path | None = None
    near: bool = False
    private: frozenset[str] = frozenset()
    names: Finder | None = None


NOTHING = Wish()


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


def _tell(whole: Tally, sighting: Sighting) -> None:
    if whole.counted(sighting.fault):
        whole.sightings.append(sighting)


def _alike(similarity: float) -> str:
    return f" ({similarity:.0%} alike)" if similarity < 1 else ""


def _lines_at(wanted: set[int], rows: Rows, start: int) -> dict[int, int]:
    """Return the numbers of the lines that begin at some offsets; the first begins after a byte order mark."""
    if not wanted:
        return {}
    begins = [*accumulate((length + 1 for _, lengths in rows.pieces() for length in lengths), initial=start)]
    return {offset: max(1, bisect_right(begins, offset)) for offset in wanted}
