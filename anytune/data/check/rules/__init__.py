"""The table of rules: what can be wrong in a file, who minds it, and how to mend it."""

from __future__ import annotations

from anytune.data.check.rules.base import COLUMNS, Rule
from anytune.data.check.rules.file import FILE_RULES
from anytune.data.check.rules.message import MESSAGE_RULES
from anytune.data.check.rules.record import RECORD_RULES
from anytune.data.check.rules.tool import TOOL_RULES
from anytune.schema.data import Level

SECTIONS: dict[str, tuple[Rule, ...]] = {
    "File": FILE_RULES,
    "Record": RECORD_RULES,
    "Messages": MESSAGE_RULES,
    "Tools": TOOL_RULES,
}
RULES: dict[str, Rule] = {rule.code: rule for rules in SECTIONS.values() for rule in rules}

__all__ = ["COLUMNS", "RULES", "SECTIONS", "Rule", "minded"]


def minded(providers: tuple[str, ...]) -> dict[str, tuple[Level, tuple[str, ...]]]:
    """Return, for each code that one of the providers minds, the highest level and who holds it."""
    found: dict[str, tuple[Level, tuple[str, ...]]] = {}
    for rule in RULES.values():
        levels = {provider: rule.level(provider) for provider in providers}
        for level in ("warning", "error"):
            holders = tuple(provider for provider in providers if levels[provider] == level)
            if holders:
                found[rule.code] = (level, holders)
    return found
