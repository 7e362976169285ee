"""Show what an export wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from anytune.ui import terminal, words

FEW = 4  # entries of a part of the manifest that are shown; more are counted


def show(manifest: dict[str, Any], *, out: Path, on: Console) -> None:
    """Show the folder, and each part of the manifest in a line."""
    on.print(Text.assemble(("wrote ", ""), (words.place(out), "bold")))
    terminal.put(on, terminal.pairs(_facts(manifest)))


def _facts(manifest: dict[str, Any]) -> Iterator[tuple[str, str | Text]]:
    for name, said in manifest.items():
        if isinstance(said, dict):
            short = len(said) <= FEW
            yield name, ", ".join(f"{k} {words.value(v)}" for k, v in said.items()) if short else str(len(said))
        elif isinstance(said, list):
            yield name, words.short(", ".join(map(str, said)))
        else:
            yield name, words.short(words.value(said))
