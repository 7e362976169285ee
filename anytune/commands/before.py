"""Before a job: init, check, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from anytune.commands import options

Providers = Annotated[
    list[str] | None, typer.Option("--for", metavar="PROVIDER", help="Only what this provider minds; repeatable.")
]


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("."),
    provider: Annotated[str | None, typer.Option(help="local, openai, together, …")] = None,
    model: Annotated[str | None, typer.Option(help="The base model.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a job file and a small sample data set."""
    from anytune.commands import starter
    from anytune.ui import terminal, words

    wish = starter.Wish(provider=provider, model=model, name=name)
    asked = starter.settled(wish, ask=terminal.ask if terminal.can_ask() and not yes else None)
    written = starter.write(folder, asked)
    job_file = words.place(written[0])
    then = [(f"anytune plan {job_file}", "what it would do and cost"), (f"anytune run {job_file}", "do it")]
    if as_json:
        terminal.emit({"files": [str(path) for path in written]}, then=then)
        return
    for path in written:
        typer.echo(f"wrote {words.place(path)}")
    terminal.next_commands(then)


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Data files, one JSON object a line.")],
    providers: Providers = None,
    method: Annotated[Literal["sft", "dpo"], typer.Option(help="What the data is for.")] = "sft",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Pass over a fault by its code; repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every fault whole, not one of a kind.")] = False,
    form: Annotated[
        Literal["text", "json", "github", "sarif"], typer.Option("--format", help="How to print it.")
    ] = "text",
    as_json: options.Json = False,
) -> None:
    """Find every fault in data files before a byte leaves."""
    from anytune.tuner import BUILT_IN, Tuner
    from anytune.ui import report, sarif, terminal

    found = Tuner().check(
        files,
        for_providers=tuple(providers or BUILT_IN),
        method=method,
        ignore=frozenset(ignore or ()),
        show=1_000_000 if every else 20,
    )
    then = report.then(found)
    if as_json or form == "json":
        terminal.emit(report.document(found), then=then)
    elif form == "github":
        report.annotate(found)
    elif form == "sarif":
        typer.echo(json.dumps(sarif.document(found), indent=2))
    else:
        (report.show_all if every else report.show)(found, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if found.ok else 3)


def plan(
    job_file: options.JobFile = Path("finetune.yaml"),
    provider: options.Provider = None,
    model: options.Model = None,
    changes: options.Changes = None,
    every: Annotated[bool, typer.Option("--all", help="Every provider side by side.")] = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Say what a job would do and cost: free, offline, without a key."""
    from anytune.tuner import Tuner
    from anytune.ui import plan as ui
    from anytune.ui import terminal

    if every:
        _plan_all(job_file, changes or [], as_json=as_json)
        return
    tuner = Tuner()
    made = tuner.plan(tuner.read(job_file, changes=changes or (), provider=provider, model=model), force=force)
    then = ui.then(made, ui.run_command(job_file, provider=provider, model=model, changes=changes or ()))
    if as_json:
        terminal.emit({"ok": made.ok, **made.model_dump(mode="json")}, then=then)
    else:
        ui.summary(made, on=terminal.result())
        ui.verdict(made, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if made.ok else 3)


def _plan_all(job_file: Path, changes: list[str], *, as_json: bool) -> None:
    from anytune.schema.plan import Plan
    from anytune.tuner import Tuner
    from anytune.ui import plan as ui
    from anytune.ui import terminal

    plans = list(Tuner().plan_all(job_file, changes=changes))
    able = [name for name, made in plans if isinstance(made, Plan) and made.ok]
    then = [(ui.run_command(job_file, provider=name, changes=changes), f"train at {name}") for name in able]
    if as_json:
        terminal.emit({"ok": bool(able), "plans": [ui.row(name, made) for name, made in plans]}, then=then)
    else:
        ui.every(plans, on=terminal.result())
        terminal.next_commands(then or [(f"anytune plan {job_file}", "all reasons against one provider")])
    raise typer.Exit(0 if able else 3)
