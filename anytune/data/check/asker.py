"""Look further into one file for several askers: what more than one wishes for is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anytune.data.check import further
from anytune.data.check.further import NOTHING, Wish
from anytune.data.check.rules import minded
from anytune.data.check.seen import Seen
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally, Terms
from anytune.data.check.token import TokenLook
from anytune.schema.data import DataMethod, PrivacyReport, Tokens

if TYPE_CHECKING:
    from anytune.data.tokens import Counter as TokenCounter


class Asker(NamedTuple):
    """Be one for whom files are checked: whose rules hold, which codes are passed over, how far to look."""

    providers: tuple[str, ...]
    ignore: frozenset[str] = frozenset()
    wish: Wish = NOTHING

    def terms(self, method: DataMethod, show: int) -> Terms:
        """Return who minds what, without what is passed over."""
        kept = {code: who for code, who in minded(tuple(self.providers), method).items() if code not in self.ignore}
        return Terms(kept, method, show)


class Looks:
    """Look further into a file that was surveyed, and remember what was found under `terms`, which all share."""

    def __init__(self, path: Path, survey: Survey, longest: Seen, *, start: int, terms: Terms) -> None:
        self._path = path
        self._survey = survey
        self._start = start
        self._terms = terms
        self._tokens = TokenLook(path, survey, longest, start=start)
        self._known: list[tuple[tuple[Any, ...], Any, Tally]] = []  # a counter or a finder need not be hashable

    @property
    def texts(self) -> Sequence[str]:
        """Return the texts of the sample, none if they are too long to be counted whole."""
        sample = self._tokens.sample
        return sample.texts if sample.short else ()

    def look(self, wish: Wish, whole: Tally) -> tuple[Tokens | None, PrivacyReport | None]:
        """Return tokens and private data, and tell of faults, as far as they are wished for."""
        path, survey, start = self._path, self._survey, self._start
        key: tuple[Any, ...] = ("tokens", wish.counter, wish.exact, wish.limit, wish.over_length)
        counted = self._once(key, lambda into: self._tokens.count(wish, into), whole)
        self._once(("leaks", wish.against, wish.near), lambda into: further.leaks(path, into, wish), whole)
        self._once(("near", wish.near), lambda into: further.likeness(path, survey, start, into, wish), whole)
        key = ("private", wish.private, wish.names)
        private = self._once(key, lambda into: further.private(path, into, wish), whole)
        return counted, private

    def _once(self, key: tuple[Any, ...], look: Callable[[Tally], Any], whole: Tally) -> Any:
        known = next((each for each in self._known if each[0] == key), None)
        if known is None:
            into = Tally(self._terms)
            known = key, look(into), into
            self._known.append(known)
        whole.take(known[2])
        return known[1]


def make_ready(looks: Sequence[Looks], wishes: Iterable[Wish]) -> None:
    """Have each counter ready for the samples of all files before the first is counted.

    A part of a large vocabulary is built for the texts that it is asked for: once, if they are known at once.
    """
    counters: list[TokenCounter] = []  # one need not be hashable
    for wish in wishes:
        if wish.counter is not None and not wish.exact and wish.counter not in counters:
            counters.append(wish.counter)
    if len(looks) > 1:
        for counter in counters:
            counter.counting([text for look in looks for text in look.texts])
