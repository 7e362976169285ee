"""One row of the table of rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anytune.schema.data import Level

COLUMNS = ("openai", "together", "local")
_LEVELS: dict[str, Level | None] = {"E": "error", "W": "warning", "-": None}


class Rule(NamedTuple):
    """Say what one code means.

    `levels` has one letter for each of COLUMNS: E error, W warning, - not minded. `message` may show the
    offending `{value}`; `hint` may turn that value into a better fix than `fix`.
    """

    code: str
    levels: str
    message: str
    why: str
    fix: str
    method: str | None = None
    hint: Callable[[object], str | None] | None = None

    def level(self, provider: str) -> Level | None:
        """Return how a provider takes this fault; one without a column minds what all columns mind.

        Such a provider (a plug-in, or a host whose rules nobody has written down) gets an error only where
        all three agree, so that no good file is refused on its behalf.
        """
        if provider in COLUMNS:
            return _LEVELS[self.levels[COLUMNS.index(provider)]]
        if set(self.levels) == {"E"}:
            return "error"
        return "warning" if "-" not in self.levels else None
