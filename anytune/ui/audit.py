"""Show what was decided about data that would leave."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from anytune.schema.audit import Decision, Link
from anytune.ui import terminal, words

ACTS = {
    "submit": "train",
    "resume": "go on",
    "evaluate": "evaluate",
    "ask": "ask the model",
    "draw": "draw figures",
    "push": "push the model",
}


def decisions(shown: Sequence[Link], *, on: Console) -> None:
    """Show each decision, oldest first: when, what about, which data, which rules, and why not."""
    if not shown:
        on.print("no decisions so far: nothing was to leave")
        return
    for number, link in enumerate(shown):
        if number:
            on.print()
        _one(link.decision, on=on)
        on.print(Text(f"  seal {link.seal}", style="dim"), soft_wrap=True)  # to be copied whole


def _one(decision: Decision, *, on: Console) -> None:
    answer = Text(decision.answer, style="green" if decision.answer == "allowed" else "red")
    head = (f"{decision.at:%Y-%m-%d %H:%M:%S} UTC  ", answer, f"  {ACTS[decision.act]} at {decision.provider}")
    on.print(Text.assemble(*head, (f"  {decision.job_id}, by {decision.by}", "dim")))
    rows: list[tuple[str, str]] = [("  data kept in", decision.place)]
    rows += [(f"  {d.role}", f"{words.count(d.examples, 'example')}, {d.sha256[:16]}…") for d in decision.data]
    rows += [(f"  {name}", value) for name, value in decision.rules.items()]
    rows += [("  reason", reason) for reason in decision.reasons]
    terminal.put(on, terminal.pairs(rows))
