"""From the formats of others into chats and pairs, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anytune.commands import options

To = Literal["chat", "alpaca", "sharegpt", "trl", "prompt-completion", "text"]
From = Literal[
    "chat",
    "sharegpt",
    "alpaca",
    "openai-log",
    "responses",
    "anthropic",
    "chatml",
    "prompt-completion",
    "question-answer",
    "text",
    "trl-preference",
    "preference",
    "kto",
    "csv",
    "tsv",
]


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, JSON, CSV, TSV, text, Parquet, or gzip.")],
    to: Annotated[
        To, typer.Option("--to", metavar="FORMAT", help="chat, alpaca, sharegpt, trl, prompt-completion or text.")
    ] = "chat",
    source: Annotated[
        From | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="Read it as this instead of recognising each record: chat, sharegpt, alpaca, openai-log, responses, "
            "anthropic, chatml, prompt-completion, question-answer, text, trl-preference, preference, kto, csv, tsv.",
        ),
    ] = None,
    out: options.Out = None,
    force: options.Replace = False,
    as_json: options.Json = False,
) -> None:
    """Turn other formats into chats or pairs, and back."""
    from anytune.data.convert import convert as carry_out
    from anytune.ui import convert as ui
    from anytune.ui import terminal

    done = carry_out(file, to=to, source=source, out=out, force=force)
    if as_json:
        terminal.emit(ui.document(done), then=ui.then(done))
    else:
        ui.show(done, on=terminal.result())
        terminal.next_commands(ui.then(done))
    raise typer.Exit(0 if done.ok else 3)
