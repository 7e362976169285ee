"""Around the work: providers, models, doctor, config."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from anytune.commands import options


def providers(as_json: options.Json = False) -> None:
    """List the providers: what each needs, and where data goes."""
    from dataclasses import asdict

    from anytune.commands import machine
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    found = machine.readiness(Tuner())
    then = [("anytune models", "what each of them tunes"), ("anytune plan --all", "compare them for a job")]
    if as_json:
        terminal.emit({"providers": [asdict(one) for one in found]}, then=then)
        return
    offer.providers(found, on=terminal.result())
    terminal.next_commands(then)


def models(
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the models that can be tuned, with price and dates."""
    from anytune.errors import UsageError
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    known = Tuner().catalogs()
    found = [catalog for catalog in known if provider in (None, catalog.provider)]
    if not found:
        names = ", ".join(catalog.provider for catalog in known)
        raise UsageError(f"there is no catalogue of {provider!r}", fix=f"there are: {names}")
    then = [("anytune plan --all", "what a job would cost at each")]
    if as_json:
        terminal.emit({"catalogs": [catalog.model_dump(mode="json") for catalog in found]}, then=then)
        return
    offer.models(found, on=terminal.result())
    terminal.next_commands(then)


def doctor(as_json: options.Json = False) -> None:
    """Look at this machine and say what is missing or broken."""
    from dataclasses import asdict

    from anytune.commands import machine
    from anytune.errors import UsageError
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal
    from anytune.ui.nouns import Finding

    try:
        tuner, broken = Tuner(), []
    except UsageError as error:
        tuner, broken = Tuner(settings=machine.bare_settings()), [Finding("bad", "settings", error.message, error.fix)]
    found = [*broken, *machine.findings(tuner)]
    ok = not any(finding.level == "bad" for finding in found)
    then = [("anytune init", "write a first job file")] if ok else []
    if as_json:
        terminal.emit({"ok": ok, "findings": [asdict(finding) for finding in found]}, then=then)
    else:
        offer.findings(found, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(0 if ok else 1)


def config_schema(as_json: options.Json = False) -> None:
    """Print the JSON Schema of the job file, for editors."""
    del as_json  # it is JSON in either case, and the schema's own shape
    from anytune.config import job_schema

    typer.echo(json.dumps(job_schema(), indent=2))


def config_show(as_json: options.Json = False) -> None:
    """Show the settings that hold here; keys are never among them."""
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    settings = Tuner().settings
    then = [("anytune config schema", "what a job file may say")]
    if as_json:
        terminal.emit({"settings": settings.model_dump(mode="json")}, then=then)
        return
    offer.settings(settings, on=terminal.result())
    terminal.next_commands(then)
