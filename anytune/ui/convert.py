"""Show what a conversion met, wrote and lost."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.data.convert import Conversion, Loss, Recognised
from anytune.ui import terminal, words

PLACES = 3  # places that are shown of one kind of loss
_SURE = {"certain": "", "likely": ", likely", "given": ", as you said"}
_NOUNS = {"chat": "chat", "pair": "pair", "text": "text"}


def show(done: Conversion, *, on: Console) -> None:
    """Show the formats that were met, the counts, and each kind of loss with its first places."""
    head = Text(words.place(done.path), style="bold")
    head.append(f"  {done.container}", style="dim")
    on.print(head, soft_wrap=True)
    for met in done.formats:
        on.print(Text(f"  {words.clean(_met(met))}"), soft_wrap=not on.is_terminal)
    on.print(Text(f"  {_counts(done)}"), soft_wrap=not on.is_terminal)
    for same in _by_code(done):
        _loss(same, done.counts[same[0].code], on)
    if done.out is not None:
        on.print(Text(f"wrote {words.place(done.out)}", style="green"), soft_wrap=True)


def document(done: Conversion) -> dict[str, Any]:
    """Return a conversion as the document of `--json`."""
    return {"ok": done.ok, **done.model_dump(mode="json")}


def then(done: Conversion) -> list[terminal.Command]:
    """Name the next command."""
    if "not-utf-8" in done.counts and not done.container.endswith("gzip"):
        return [(shlex.join(["anytune", "fix", words.place(done.path)]), "make it UTF-8, then convert what it writes")]
    if done.out is None:
        return [("anytune convert --help", "the formats that --from can name")]
    out = words.place(done.out)
    if done.to == "chat":
        method = ["--method", "dpo"] if done.kind == "pair" else []
        return [(shlex.join(["anytune", "check", out, *method]), "find what is wrong with it")]
    return [(shlex.join(["anytune", "convert", out, "--to", "chat"]), "back again")]


def _met(met: Recognised) -> str:
    by = f" (by {', '.join(met.by)}{_SURE[met.sure]})" if met.by else _SURE[met.sure]
    return f"{met.format}{by}: {words.count(met.records, 'record')}"


def _counts(done: Conversion) -> str:
    noun = _NOUNS[done.kind] if done.kind else "record"
    said = f"{words.count(done.read, 'record')} read, {words.count(done.written, noun)} written"
    if done.joined:
        said += f", {words.count(done.joined)} joined with another"
    return f"{said}, {words.count(done.left_out)} left out" if done.left_out else said


def _by_code(done: Conversion) -> Iterator[list[Loss]]:
    """Yield the kept losses of each code together, what left a record out first."""
    first = sorted(done.losses, key=lambda loss: not loss.left_out)
    for code in dict.fromkeys(loss.code for loss in first):
        yield [loss for loss in first if loss.code == code]


def _loss(same: list[Loss], number: int, on: Console) -> None:
    left_out = same[0].left_out
    head = Text("  ")
    head.append("left out" if left_out else "lost", style="red" if left_out else "yellow")
    head.append(f" {same[0].code}", style="bold")
    head.append(f"  {words.count(number, 'time')}: {same[0].why}")
    on.print(head, soft_wrap=not on.is_terminal)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for loss in same[:PLACES]:
        table.add_row("   ", Text(words.clean(_place(loss))))
    if number > PLACES:
        table.add_row("   ", Text(f"and {number - min(PLACES, len(same)):,} more", style="dim"))
    terminal.put(on, table)


def _place(loss: Loss) -> str:
    where = f"line {loss.line}" if loss.line is not None else f"record {loss.record}" if loss.record else "around them"
    return "  ".join(filter(None, (where, loss.path, loss.what)))
