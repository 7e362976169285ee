"""The two streams: stdout is the result, stderr is progress and what to do next."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:  # rich is loaded where somebody looks
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 120  # columns for a reader that has no screen
SCHEMA = 1

Command = tuple[str, str]


class Line(NamedTuple):
    """Be one line, in parts of a text and its style, `indent` columns deep; None keeps it whole on a screen, too."""

    parts: tuple[tuple[str, str], ...]
    indent: int | None = 0


def result() -> Console:
    """Return the console of the result."""
    return _console(sys.stdout, stderr=False)


def progress() -> Console:
    """Return the console of progress."""
    return _console(sys.stderr, stderr=True)


def screen(stream: TextIO) -> Console | None:
    """Return the console of a stream that somebody looks at or has a width for, None for one into a pipe or a file."""
    if _looks(stream) or os.environ.get("COLUMNS") or os.environ.get("FORCE_COLOR"):
        return _console(stream, stderr=stream is sys.stderr)
    return None


def is_live() -> bool:
    """Tell whether somebody watches progress on a screen that can redraw."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def can_ask() -> bool:
    """Tell whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> str:
    """Ask on stderr, so that stdout stays the result, and return the answer; none at the end of input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def emit(document: dict[str, Any], *, then: Iterable[Command] = ()) -> None:
    """Print the one JSON document of a verb; `next` holds the commands that may follow."""
    whole = {"schema": SCHEMA, **document, "next": [command for command, _ in then]}
    print(_laid_out(whole))


def emit_many(name: str, texts: Iterable[str], document: dict[str, Any], *, then: Iterable[Command] = ()) -> None:
    """Print the one JSON document of a verb that tells of many things, each of which is JSON already, under a name."""
    import msgspec

    told = {"schema": SCHEMA, name: [msgspec.Raw(text.encode()) for text in texts], **document}
    whole = msgspec.json.encode({**told, "next": [command for command, _ in then]})
    print(msgspec.json.format(whole, indent=2).decode())


def _laid_out(document: dict[str, Any]) -> str:
    """Write a document as JSON; pydantic takes a fifth of the time that json does, and minds half characters."""
    from pydantic_core import to_json

    try:
        return to_json(document, indent=2, fallback=str).decode()
    except ValueError:
        return json.dumps(document, ensure_ascii=False, indent=2, default=str)


def next_commands(commands: Sequence[Command]) -> None:
    """End by naming what can be done now; a command stays on one line, so that it can be copied."""
    if not commands:
        return
    console = screen(sys.stderr)
    width = max(len(command) for command, _ in commands)
    lines = [Line(())]
    for number, (command, why) in enumerate(commands):
        parts = [("next: " if number == 0 else "      ", "dim"), (command, "bold dim")]
        if why and (console is None or 6 + width + 3 + len(why) <= console.width):
            parts.append((f"{' ' * (width - len(command))}   {why}", "dim"))
        lines.append(Line(tuple(parts), indent=None))
    write(lines, on=console, to=sys.stderr)


def write(lines: Iterable[Line], *, on: Console | None, to: TextIO | None = None) -> None:
    """Print lines on a screen, coloured and folded; or else as they are, whole, to a stream (stdout if None)."""
    for line in lines:
        if on is None:
            print(" " * (line.indent or 0) + "".join(text for text, _ in line.parts), file=to)
        else:
            _draw(line, on)


def _draw(line: Line, on: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    text = Text.assemble(*line.parts)
    if line.indent:
        table = Table.grid()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row(" " * line.indent, text)
        put(on, table)
    else:
        on.print(text, soft_wrap=line.indent is None or not on.is_terminal)


def left_out(names: Sequence[str]) -> None:
    """Say which columns a narrow screen does not show."""
    if names:
        note(f"left out here: {', '.join(names)}; a wider terminal or --json shows them")


def note(text: str, *, style: str = "dim") -> None:
    """Say one thing about progress."""
    say(progress(), text, style=style)


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print prose: folded at words on a screen, whole lines in a pipe."""
    from rich.text import Text

    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def listed(console: Console, lines: Iterable[str], *, mark: str = "-", style: str = "") -> None:
    """Print a list whose long lines hang under their first word."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style=style)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(f"  {mark}", Text(line))
    put(console, table)


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Make a table of names and what they stand for."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return table


def columns(*names: str, right: Sequence[str] = (), whole: Sequence[str] = (), gap: int = 2) -> Table:
    """Make a table without lines; `right` columns hold figures, `whole` ones are never broken."""
    from rich.table import Table

    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in whole or name in right,
            overflow="fold",
        )
    return table


def put(console: Console, table: Table) -> None:
    """Print a table without the blanks that fill its last column."""
    from rich.text import Text

    for line in console.render_lines(table, pad=False):
        text = Text.assemble(*((part.text, part.style or "") for part in line))
        text.rstrip()
        console.print(text, soft_wrap=True)


def _console(stream: TextIO, *, stderr: bool) -> Console:
    from rich.console import Console

    wide = None if _looks(stream) or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(stderr=stderr, width=wide, markup=False, highlight=False, emoji=False)


def _looks(stream: TextIO) -> bool:
    """Tell whether somebody sits before a stream, if only behind a pager."""
    return any(s.isatty() for s in (stream, sys.stderr, sys.stdin))
