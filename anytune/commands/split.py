"""Set examples aside so that what a model is measured on was not learned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from anytune.commands import options


def split(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One JSON object a line.")],
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="A share such as 0.1, or a number of examples; 0.1 if neither this nor --test is given.",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The same for a third file that only eval reads.")
    ] = None,
    by: Annotated[
        Literal["prompt", "first-turn"],
        typer.Option(help="Keep together what has one prompt, or all chats that begin with one question."),
    ] = "prompt",
    group: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Keep together what has one value there, e.g. $.metadata.customer."),
    ] = None,
    drop_group: Annotated[bool, typer.Option("--drop-group", help="Take that key out of the new files.")] = False,
    out_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write; beside FILE if not said.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files that are to be written.")] = False,
    as_json: options.Json = False,
) -> None:
    """Split a file so that no prompt stands on two sides."""
    from anytune.data.split import TRAIN, divide
    from anytune.ui import split as ui
    from anytune.ui import terminal

    sizes = {name: _size(name, said) for name, said in (("validation", validation), ("test", test)) if said}
    sizes = sizes or {"validation": 0.1}
    folder = out_dir or file.parent
    into = {name: folder / f"{file.stem}.{name}.jsonl" for name in (TRAIN, *sizes)}
    done = divide(
        file,
        into=into,
        validation=sizes.get("validation"),
        test=sizes.get("test"),
        by=by,
        group=group,
        drop_group=drop_group,
        force=force,
    )
    if as_json:
        terminal.emit(done.model_dump(mode="json"), then=ui.then(done))
    else:
        ui.show(done, on=terminal.result())
        terminal.next_commands(ui.then(done))


def _size(name: str, said: str) -> float | int:
    """Return a whole number as one, all else as a share."""
    from anytune.errors import UsageError

    try:
        return int(said) if said.isdecimal() else float(said)
    except ValueError as error:
        raise UsageError(f"--{name} {said} is no size", fix=f"--{name} 0.1, or --{name} 200") from error
