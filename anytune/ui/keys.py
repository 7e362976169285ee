"""Show where keys are taken from; none is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from anytune.ui import terminal


@dataclass(frozen=True)
class Place:
    """Say where the key of a name is taken from (None: nowhere), for whom, and what keeps it from being found."""

    name: str
    wanted_by: tuple[str, ...]
    source: str | None
    fault: str | None = None


def show(found: Sequence[Place], *, file: Path, keyring: str, on: Console) -> None:
    """Show each key by its name, and the places where keys are looked for."""
    table = terminal.columns("key", "taken from", "for", whole=("key", "taken from"))
    for place in found:
        said = place.source or "nowhere"
        style = "green" if place.source else "yellow"
        table.add_row(place.name, Text(said, style=style), ", ".join(place.wanted_by))
    terminal.put(on, table)
    on.print()
    rows: list[tuple[str, str | Text]] = [("looked for in", "the environment, then the file, then the keyring")]
    rows += [("file", str(file)), ("keyring", keyring)]
    terminal.put(on, terminal.pairs(rows))
    terminal.listed(on, dict.fromkeys(place.fault for place in found if place.fault), mark="!", style="red")
