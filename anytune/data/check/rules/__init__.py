"""The table of rules: what can be wrong in a file, who minds it, and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from anytune.data.check.rules.base import COLUMNS, DataMethod, Minded, Rule
from anytune.data.check.rules.file import FILE_RULES
from anytune.data.check.rules.message import MESSAGE_RULES
from anytune.data.check.rules.record import RECORD_RULES
from anytune.data.check.rules.set import SET_RULES
from anytune.data.check.rules.tool import TOOL_RULES

SECTIONS: dict[str, tuple[Rule, ...]] = {
    "File": FILE_RULES,
    "Record": RECORD_RULES,
    "Messages": MESSAGE_RULES,
    "Tools": TOOL_RULES,
    "Set": SET_RULES,
}
RULES: dict[str, Rule] = {rule.code: rule for rules in SECTIONS.values() for rule in rules}

__all__ = ["COLUMNS", "RULES", "SECTIONS", "Minded", "Rule", "minded"]


@cache
def minded(providers: tuple[str, ...], method: DataMethod = "sft") -> Mapping[str, Minded]:
    """Return, for each code that one of the providers minds under the method, who minds it."""
    found: dict[str, Minded] = {}
    for rule in RULES.values():
        levels = {provider: rule.level(provider, method) for provider in providers}
        errors, warnings = (tuple(p for p in providers if levels[p] == level) for level in ("error", "warning"))
        if errors or warnings:
            found[rule.code] = Minded(errors, warnings)
    return MappingProxyType(found)
