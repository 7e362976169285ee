"""Look further into one file for several askers: what more than one wishes for is looked at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from anytune.data.check import further
from anytune.data.check.further import NOTHING, Wish
from anytune.data.check.rules import minded
from anytune.data.check.seen import Seen
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally, Terms
from anytune.schema.data import DataMethod, PrivacyReport, Tokens


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
        self._longest = longest
        self._start = start
        self._terms = terms
        self._known: list[tuple[tuple[Any, ...], Any, Tally]] = []  # a counter or a finder need not be hashable

    def look(self, wish: Wish, whole: Tally) -> tuple[Tokens | None, PrivacyReport | None]:
        """Return tokens and private data, and tell of faults, as far as they are wished for."""
        path, survey, start = self._path, self._survey, self._start

        def tokens(into: Tally) -> Tokens | None:
            return further.tokens(path, survey, self._longest, start, into, wish)

        counted = self._once(("tokens", wish.counter, wish.exact, wish.limit), tokens, whole)
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
