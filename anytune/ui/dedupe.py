"""Show what was left out of a file, and because of what."""

from __future__ import annotations

import shlex
from typing import Any

from rich.console import Console
from rich.text import Text

from anytune.data.dedupe import Deduped, Dropped
from anytune.ui import terminal, words

SHOWN = 5  # lines that went
_SAME = {"exact": "the same record", "normalised": "the same words", "prompt": "the same prompt"}


def show(done: Deduped, *, on: Console) -> None:
    """Show the counts, the first lines that went, and the new file."""
    head = Text(words.place(done.path), style="bold")
    said = f"  {words.count(done.examples, 'example')}, {words.count(len(done.dropped))} left out ({done.kind})"
    head.append(said, style="default not bold")
    on.print(head, soft_wrap=True)
    lines = [_line(one, done.kind) for one in done.dropped[:SHOWN]]
    if len(done.dropped) > SHOWN:
        lines.append(f"and {words.count(len(done.dropped) - SHOWN)} more; --json names all")
    terminal.listed(on, lines)
    if done.kind == "prompt" and done.dropped:
        terminal.say(on, "their answers may have been others: only the prompts were compared", style="yellow")
    on.print(Text(f"wrote {words.place(done.out)}", style="green"), soft_wrap=True)


def document(done: Deduped) -> dict[str, Any]:
    """Return what was done as the document of `--json`."""
    dropped = [one._asdict() for one in done.dropped]
    return {**done.model_dump(mode="json", exclude={"dropped"}), "dropped": dropped}


def then(done: Deduped) -> list[terminal.Command]:
    """Name the next commands."""
    out = words.place(done.out)
    return [
        (shlex.join(["anytune", "check", out]), "find what is wrong with it"),
        (shlex.join(["anytune", "split", out]), "set examples aside"),
    ]


def _line(one: Dropped, kind: str) -> str:
    alike = _SAME.get(kind, f"{words.share(one.similarity)} alike")
    return f"line {one.line:,}: {alike} as line {one.because_of:,}"
