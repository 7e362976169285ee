"""Mend a data file into a new one: what is safe at once, what changes meaning when the user agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.data.fix import Fixed


def fix(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The data file; it is not touched.")],
    providers: options.Providers = None,
    method: options.DataMethod = "sft",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The new file instead of NAME.prepared.jsonl.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; also mend what changes meaning.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do; write nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Mend what is wrong with a data file, into a new file."""
    from anytune.data.fix import ASKED, foresee
    from anytune.data.fix import fix as mend
    from anytune.errors import UsageError
    from anytune.tuner import BUILT_IN, Tuner
    from anytune.ui import fix as ui
    from anytune.ui import terminal

    chosen = Tuner().reach.judges(tuple(providers or BUILT_IN))
    target = out or file.with_name(f"{file.stem}.prepared.jsonl")
    if target.exists() and not force and not dry_run:
        raise UsageError(f"{target} exists already", fix="--force to write over it, or --out for another name")

    def tried(agreed: frozenset[str]) -> Fixed:
        return foresee(file, providers=chosen, method=method, agreed=agreed)

    agreed: frozenset[str] = ASKED if yes else frozenset()
    if terminal.can_ask() and not (yes or dry_run or as_json):
        agreed = ui.agreed(tried)
    done = tried(agreed) if dry_run else mend(file, providers=chosen, method=method, out=target, agreed=agreed)
    also = [part for name in providers or () for part in ("--for", name)]
    then = ui.then(done, [*also, *(() if method == "sft" else ("--method", method))], out=out)
    if as_json:
        terminal.emit(ui.document(done), then=then)
    else:
        ui.show(done, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if done.ok else 3)
