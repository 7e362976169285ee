"""Ask about what changes meaning, and show what was mended, left, and what remains."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.data.fix import ASKED, Change, Fixed
from anytune.ui import report, terminal, words

Try = Callable[[frozenset[str]], Fixed]
SHOWN_NAMES = 5


def agreed(try_with: Try) -> frozenset[str]:
    """Ask about every kind of change that alters meaning and return the codes that were agreed to.

    What is agreed to can bring up something else (a message without its image has nothing left to say), so it is
    tried until nothing new comes up.
    """
    yes: frozenset[str] = frozenset()
    asked: set[str] = set()
    while fresh := _by_code(change for change in try_with(yes).left if change.code not in asked):
        for code, changes in fresh.items():
            answer = terminal.ask(f"{_question(changes)} [y/N/all] ").lower()
            if answer in ("a", "all"):
                return yes | ASKED - asked
            asked.add(code)
            yes |= {code} if answer in ("y", "yes") else set()
    return yes


def show(done: Fixed, *, on: Console) -> None:
    """Show what was done by code with counts, what was left, and what the check finds."""
    head = Text(words.place(done.path), style="bold")
    head.append(f" → {words.place(done.out)}" if done.out else "  (nothing is written)")
    on.print(head, soft_wrap=True)
    removed = f", {words.count(done.removed)} removed" if done.removed else ""
    terminal.listed(on, [f"{words.count(done.records, 'record')}, {words.count(done.written)} kept{removed}"], mark=" ")
    if done.done:
        on.print("mended" if done.out else "would mend")
        _changes(done.done, on)
    else:
        on.print("nothing to mend" if not done.left else "nothing was mended")
    if done.left:
        on.print(Text("left as it is, since it would change the meaning", style="yellow"))
        _changes(done.left, on)
    if done.report is not None:
        on.print()
        report.show(done.report, on=on)


def document(done: Fixed) -> dict[str, Any]:
    """Return what was done as the document of `--json`; `files` is that of a check of the new file."""
    fields = {"path", "out", "records", "written", "removed", "done", "left"}
    checked = report.document(done.report)["files"] if done.report is not None else []
    return {"ok": done.ok, **done.model_dump(mode="json", include=fields), "files": checked}


def then(done: Fixed, also: Sequence[str] = (), *, out: Path | None = None) -> list[terminal.Command]:
    """Name the next command; `also` are the options that hold for another one, `out` the name that was asked for."""
    again = ["anytune", "fix", words.place(done.path), *also]
    again += ["--out", words.place(out)] if out else []
    if done.report is None:
        agree = [(shlex.join([*again, "-y"]), "also what changes the meaning")] if done.left else []
        return [(shlex.join(again), "write the new file"), *agree]
    if done.left:
        return [
            (shlex.join([*again, "-y", *(["--force"] if done.out else [])]), "agree to what was left"),
            (shlex.join([*again, "--dry-run"]), "see it again"),
        ]
    return report.then(done.report, also)


def _question(changes: list[Change]) -> str:
    first = changes[0]
    what = ", ".join(dict.fromkeys(change.what for change in changes))
    return f"{first.code} ({first.level}): {what}? {words.count(first.count, 'time')}{_where(first)}"


def _changes(changes: Iterable[Change], on: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    for change in changes:
        what = Text(words.clean(f"{change.what}{_names(change)}"))
        what.append(_where(change), style="dim")
        table.add_row(f"  {change.code}", words.count(change.count), what)
    terminal.put(on, table)


def _names(change: Change) -> str:
    named = [f"{name} ({count:,})" for name, count in list(change.names.items())[:SHOWN_NAMES]]
    more = ", …" if len(change.names) > SHOWN_NAMES else ""
    return f": {', '.join(named)}{more}" if named else ""


def _where(change: Change) -> str:
    if not change.lines:
        return ""
    more = ", …" if change.count > len(change.lines) else ""
    return f", line{'' if len(change.lines) == 1 else 's'} {', '.join(map(str, change.lines))}{more}"


def _by_code(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.code, []).append(change)
    return found
