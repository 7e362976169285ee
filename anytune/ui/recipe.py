"""Show a job that was handed to another trainer, and one that was taken in."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.recipe import TOOLS, HandedOver, TakenIn
from anytune.ui import plan, terminal, words


def show_over(done: HandedOver, *, on: Console) -> None:
    """Show the folder, and what became of each setting."""
    on.print(Text.assemble("wrote ", (words.place(done.out), "bold"), f": {', '.join(done.files)}"), soft_wrap=True)
    on.print()
    terminal.put(on, plan.settings(done.settings))
    terminal.say(on, f"settings go by {done.source}", style="dim")
    if done.notes:
        on.print()
        terminal.listed(on, done.notes, mark="!", style="yellow")


def then_over(done: HandedOver) -> list[terminal.Command]:
    """Name the command that starts the other trainer."""
    return [(f"cd {shlex.quote(words.place(done.out))} && {done.command}", f"train with {TOOLS[done.tool].title}")]


def show_in(done: TakenIn, *, on: Console) -> None:
    """Show what became of each key, and which were passed over."""
    on.print(Text.assemble((words.place(done.path), "bold"), f"  {done.title}"), soft_wrap=True)
    on.print()
    terminal.put(on, _taken(done))
    terminal.say(on, f"keys go by {done.source}", style="dim")
    if done.passed_over:
        said = f"passed over, since they say how it runs and not what is learnt: {', '.join(done.passed_over)}"
        on.print()
        terminal.say(on, said, style="dim")
    on.print()
    lost = f"; {words.count(len(done.lost), 'setting')} could not be taken over" if done.lost else ""
    on.print(Text(f"wrote {words.place(done.out)}{lost}", style="yellow" if lost else "green"), soft_wrap=True)


def document(done: TakenIn) -> dict[str, Any]:
    """Return it as the document of `--json`."""
    return {"ok": not done.lost, **done.model_dump(mode="json")}


def then_in(done: TakenIn) -> list[terminal.Command]:
    """Name the next command."""
    file = shlex.quote(words.place(done.out))
    if any(setting.path.startswith("data.") for setting in done.lost):
        return [("anytune convert --help", "make chats of the data, once they are here")]
    return [(f"anytune plan {file} --all", "who could train it, at what price"), (f"anytune run {file}", "do it here")]


def _taken(done: TakenIn) -> Table:
    table = terminal.columns("theirs", "", "what becomes of it", whole=("theirs",))
    for setting in done.settings:
        name = setting.path if setting.outcome == "refused" else str(setting.to)
        shown = Text(setting.outcome, style=plan.STYLES[setting.outcome])
        if setting.outcome == "refused":
            value = setting.value
        else:
            value = setting.sent
            shown.append(f" as {setting.path} = {words.value(setting.value)}", style="default")
        if setting.why:
            shown.append(f": {setting.why}", style="default")
        table.add_row(name, "" if value is None else words.short(words.value(value), 40), shown)
    return table
