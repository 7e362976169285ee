"""Before a job: init, plan."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anytune.commands import options
from anytune.errors import UsageError

if TYPE_CHECKING:
    from anytune.ui.nouns import Given


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.")] = Path("."),
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="local, openai, azure, together, …")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The base model.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The job's name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a job file and a small sample data set."""
    from anytune.commands import starter
    from anytune.ui import terminal, words

    wish = starter.Wish(provider=provider, model=model, name=name)
    asked = starter.settled(wish, ask=terminal.ask if terminal.can_ask() and not yes else None)
    written = starter.write(folder, asked)
    job_file = shlex.quote(words.place(written[0]))
    then = [(f"anytune plan {job_file}", "what it would do and cost"), (f"anytune run {job_file}", "do it")]
    if as_json:
        terminal.emit({"files": [str(path) for path in written]}, then=then)
        return
    for path in written:
        typer.echo(f"wrote {words.place(path)}")
    terminal.next_commands(then)


def plan(
    job_file: options.JobFile = Path("finetune.yaml"),
    provider: options.Provider = None,
    model: options.Model = None,
    changes: options.Changes = None,
    every: Annotated[bool, typer.Option("--all", help="Every provider side by side.")] = False,
    gpus: Annotated[
        list[str] | None, typer.Option("--gpu", metavar="NAME", help="Would it fit this GPU, too? Repeatable.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Memory by a step of the real model class, without weights (~20 s).")
    ] = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Say what a job would do and cost: free, offline, without a key."""
    from anytune.outlook import Outlook
    from anytune.planning import Foresight
    from anytune.ui import plan as ui
    from anytune.ui import terminal
    from anytune.ui.nouns import Given

    given = Given(job_file, provider=provider, model=model, changes=tuple(changes or ()), force=force)
    foresight = Foresight(tuple(gpus or ()), exact)
    if every:
        if foresight.wanted:
            raise UsageError("--gpu and --exact ask about one plan, that of local", fix="leave out --all")
        _plan_all(given, as_json=as_json)
        return
    outlook = Outlook()
    spec = outlook.read(job_file, changes=changes or (), provider=provider, model=model)
    made = ui.foreseen(lambda: outlook.plan(spec, force=force, foresight=foresight), exact=exact)
    then = ui.then(made, given)
    if as_json:
        terminal.emit({"ok": made.ok, **made.model_dump(mode="json")}, then=then)
    else:
        ui.summary(made, on=terminal.result())
        ui.verdict(made, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if made.ok else 3)


def _plan_all(given: Given, *, as_json: bool) -> None:
    from anytune.outlook import Outlook
    from anytune.schema.plan import Plan
    from anytune.ui import plan as ui
    from anytune.ui import terminal

    asked = Outlook().plan_all(given.job_file, changes=given.changes, model=given.model, force=given.force)
    plans = list(asked)
    able = [name for name, made in plans if isinstance(made, Plan) and made.ok]
    then = [(replace(given, provider=name).command("run"), f"train at {name}") for name in able]
    then = then or [(given.command("plan"), "all reasons against one provider")]
    if as_json:
        terminal.emit({"ok": bool(able), "plans": [ui.row(name, made) for name, made in plans]}, then=then)
    else:
        ui.every(plans, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if able else 3)
