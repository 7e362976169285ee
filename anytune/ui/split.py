"""Show how a file was split."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.text import Text

from anytune.data.split import Side, Split
from anytune.ui import terminal, words


def show(done: Split, *, on: Console) -> None:
    """Show each new file with its number and share of examples."""
    examples = sum(side.examples for side in done.sides)
    head = Text(words.place(done.path), style="bold")
    head.append(f"  {words.count(examples, 'example')}, split by {_kept(done.by)}", style="default not bold")
    on.print(head, soft_wrap=True)
    table = terminal.columns("", "examples", "share", "wrote", right=("examples", "share"))
    for side in done.sides:
        share = words.share(side.examples / examples)
        table.add_row(side.name, words.count(side.examples), share, words.place(side.path))
    terminal.put(on, table)
    for side in done.sides:
        if missed := _missed(side, done.by):
            terminal.say(on, missed, style="yellow")


def then(done: Split) -> list[terminal.Command]:
    """Name the commands that look for leaks between the new files."""
    train, *others = (words.place(side.path) for side in done.sides)
    return [(shlex.join(["anytune", "check", train, "--against", other]), "nothing of it leaked") for other in others]


def _kept(by: str) -> str:
    return "first turn" if by == "first-turn" else words.clean(by)


def _missed(side: Side, by: str) -> str:
    if not isinstance(side.wanted, int) or side.examples == side.wanted:
        return ""
    return (
        f"{side.name} has {words.count(side.examples)} of the {words.count(side.wanted)} wanted: "
        f"the examples of one {_kept(by)} stay together, and none had few enough for the rest"
    )
