"""Show what a month has cost so far, and how its budgets stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from anytune import spending
from anytune.schema.money import Standing
from anytune.ui import terminal, words
from anytune.ui.plan import hosting

if TYPE_CHECKING:
    from anytune.budgets import Spent

MONEY = ("did cost", "expected", "together")


def show(spent: Spent, *, on: Console) -> None:
    """Show the sums by project and provider, then each budget, then what is in no sum."""
    if spent.rows:
        table = terminal.columns("project", "provider", "jobs", *MONEY, right=("jobs", *MONEY), whole=("provider",))
        for row in spent.rows:
            sums = (words.money(amount) for amount in (row.cost, row.expected, row.usd))
            table.add_row(row.project or "-", row.provider, words.count(row.jobs), *sums)
        terminal.put(on, table)
    else:
        terminal.say(on, f"nothing was ordered in {spent.month}")
    if unpriced := sum(row.unpriced for row in spent.rows):
        terminal.say(on, f"{words.count(unpriced, 'order')} of unknown price not counted", style="yellow")
    for found in spent.standings:
        terminal.say(on, f"{spending.whose(found.limit)}: {stands(found)}")
    for kept in spent.hosting:
        said = f"{words.count(kept.models, 'tuned model')} at {kept.provider}, each kept ready to answer"
        terminal.say(on, f"not counted: {said}: {hosting(kept.hosting)}", style="dim")


def stands(found: Standing) -> str:
    """Say how much of a budget is taken and left, and when it begins anew."""
    taken, whole = words.money(found.spent), words.money(found.limit.usd)
    return (
        f"{taken} of {whole} taken in {found.month}, {words.money(found.left)} left; it renews on {found.renews} (UTC)"
    )


def document(spent: Spent) -> dict[str, Any]:
    """Return it as a JSON document."""
    return {
        "month": spent.month,
        "renews": spent.renews,
        "currency": "USD",
        "usd": sum((row.usd for row in spent.rows), spending.NOTHING),
        "rows": [
            {
                "project": row.project,
                "provider": row.provider,
                "jobs": row.jobs,
                "cost": row.cost,
                "expected": row.expected,
                "usd": row.usd,
                "unpriced": row.unpriced,
            }
            for row in spent.rows
        ],
        "budgets": [
            {
                "whose": found.limit.whose,
                "name": found.limit.name,
                "usd": found.limit.usd,
                "spent": found.spent,
                "left": found.left,
                "unpriced": found.unpriced,
            }
            for found in spent.standings
        ],
        "hosting": [
            {"provider": kept.provider, "models": kept.models, **kept.hosting.model_dump(mode="json")}
            for kept in spent.hosting
        ],
    }
