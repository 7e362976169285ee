"""One row of the table of rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anytune.schema.data import DataMethod, Level

COLUMNS = ("openai", "together", "fireworks", "azure", "nebius", "local")
OUR_TRAINER = ("local", "hf-jobs", "ray")  # here, and on other machines
SAME_AS = dict.fromkeys(OUR_TRAINER, OUR_TRAINER[0])
_LEVELS: dict[str, Level | None] = {"E": "error", "W": "warning", "-": None}

__all__ = ["COLUMNS", "DataMethod", "Minded", "Rule"]


class Rule(NamedTuple):
    """Say what one code means.

    `levels` has one letter for each of COLUMNS, or one for all: E error, W warning, - not minded. `dpo` and `rft` say
    where these methods differ; `methods` names those under which the rule can be broken at all. `message` may show the
    offending `{value}`; `hint` may turn that value into a better fix than `fix`.
    """

    code: str
    levels: str
    message: str
    why: str
    fix: str
    methods: tuple[DataMethod, ...] = ("sft", "dpo", "rft")
    dpo: str | None = None
    rft: str | None = None
    hint: Callable[[object], str | None] | None = None

    def letters(self, method: DataMethod) -> str:
        """Return one letter for each of COLUMNS."""
        if method not in self.methods:
            return "-" * len(COLUMNS)
        own: dict[str, str | None] = {"dpo": self.dpo, "rft": self.rft}
        letters = own.get(method) or self.levels
        return letters * len(COLUMNS) if len(letters) == 1 else letters

    def level(self, provider: str, method: DataMethod) -> Level | None:
        """Return how a provider takes this fault; one without a column minds what all columns mind.

        Such a provider (a plug-in, or a host whose rules nobody has written down) gets an error only where
        all agree, so that no good file is refused on its behalf.
        """
        letters, provider = self.letters(method), SAME_AS.get(provider, provider)
        if provider in COLUMNS:
            return _LEVELS[letters[COLUMNS.index(provider)]]
        if set(letters) == {"E"}:
            return "error"
        return "warning" if "-" not in letters else None


class Minded(NamedTuple):
    """Say who minds a fault, and how much."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def level(self) -> Level:
        """Return the highest level that anyone gives it."""
        return "error" if self.errors else "warning"

    @property
    def holders(self) -> tuple[str, ...]:
        """Return who gives it that level."""
        return self.errors or self.warnings

    def narrowed(self, among: tuple[str, ...] | None) -> Minded | None:
        """Return what is left when only these providers mind the value at hand, None if nobody is."""
        if among is None:
            return self
        errors, warnings = (tuple(p for p in names if p in among) for names in self)
        return Minded(errors, warnings) if errors or warnings else None
