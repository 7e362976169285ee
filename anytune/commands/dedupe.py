"""Leave out what is there twice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anytune.commands import options


def dedupe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One JSON object a line.")],
    kind: Annotated[
        Literal["exact", "normalised", "prompt", "near"],
        typer.Option(
            help="exact: the same record; normalised: but for case, white space and made-up ids; "
            "prompt: the same prompt, whatever the answer; near: alike in words (needs the extra dedup)."
        ),
    ] = "exact",
    keep: Annotated[Literal["first", "last"], typer.Option(help="Which one stays.")] = "first",
    threshold: Annotated[float, typer.Option(metavar="SHARE", help="How alike is near, from 0.5 to 1.")] = 0.8,
    out: options.Out = None,
    force: options.Replace = False,
    as_json: options.Json = False,
) -> None:
    """Write a file without its duplicates, exact to near."""
    from anytune.data.dedupe import dedupe as carry_out
    from anytune.ui import dedupe as ui
    from anytune.ui import terminal

    place = out or file.with_name(f"{file.stem}.prepared.jsonl")
    done = carry_out(file, place, kind=kind, keep=keep, threshold=threshold, force=force)
    if as_json:
        terminal.emit(ui.document(done), then=ui.then(done))
    else:
        ui.show(done, on=terminal.result())
        terminal.next_commands(ui.then(done))
