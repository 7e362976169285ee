"""Say what becomes of examples that are longer than a job allows."""

from __future__ import annotations

from anytune.schema.data import FileReport
from anytune.schema.plan import Plan
from anytune.ui import words


def over(plan: Plan, report: FileReport) -> str | None:
    """Say of how many examples of a file our own trainer makes what, and how many tokens that is; None if of none."""
    found, rule = report.tokens, plan.capabilities.settings.get("training.over_length")
    held_out = report.file is None or report.file.role == "test"
    if found is None or not found.over_limit or held_out or rule is None or rule.outcome == "refused":
        return None
    some, held = f"{words.count(found.over_limit, 'example')} over max_length {found.limit:,}", found.over_limit_tokens
    policy = plan.spec.training.over
    if policy == "refuse" or held is None or found.limit is None:
        return f"{some}: a run is refused"
    if policy == "drop":
        return f"{some}: left out, about {held:,} tokens"
    side = "the oldest before the answer" if policy == "truncate_left" else "the end"
    return f"{some}: {side} is cut off, about {held - found.over_limit * found.limit:,} tokens"
