"""Around the work: providers, models, doctor, config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anytune.schema.catalog import Catalog
    from anytune.schema.training import Method


def providers(as_json: options.Json = False) -> None:
    """List the providers: what each needs, and where data goes; and those that take no jobs any more."""
    from dataclasses import asdict

    from anytune import catalog
    from anytune.commands import machine
    from anytune.providers import names
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    found = machine.readiness(Tuner())
    closed = {name: told for name, told in catalog.closed().items() if name not in names()}
    then = [("anytune models", "what each of them tunes"), ("anytune plan --all", "compare them for a job")]
    if as_json:
        ended = [{"provider": name, **told.model_dump(mode="json")} for name, told in closed.items()]
        terminal.emit({"providers": [asdict(one) for one in found], "closed": ended}, then=then)
        return
    offer.providers(found, on=terminal.result())
    offer.closed(closed.values(), on=terminal.result())
    terminal.next_commands(then)


def refresh(
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Ask only this one.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask the providers which models they tune, and keep the answers."""
    from anytune.commands import refresh as work
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    asked = list(work.ask(Tuner(), only=provider))
    then = [("anytune models", "what can be tuned where")] if any(one.ok for one in asked) else []
    if as_json:
        terminal.emit({"ok": work.exit_code(asked) == 0, "asked": [one.document() for one in asked]}, then=then)
    else:
        offer.asked(asked, on=terminal.result())
        terminal.next_commands(then)
    raise typer.Exit(work.exit_code(asked))


def models(
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None,
    method: Annotated[Literal["sft", "dpo"] | None, typer.Option(help="Only what can be tuned by it.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the models that can be tuned: where, until when, at which price."""
    from anytune.tuner import Tuner
    from anytune.ui import offer, terminal

    tuner = Tuner()
    found = [_by(method, catalog) for catalog in _asked_for(provider, tuner.catalogs(), names=tuner.reach.names())]
    then = [("anytune plan --all", "what a job would cost at each")]
    if as_json:
        told = [{**one.model_dump(mode="json"), "warnings": offer.remarks(one, tuner.today)} for one in found]
        terminal.emit({"catalogs": told}, then=then)
        return
    offer.models(found, today=tuner.today, on=terminal.result())
    terminal.next_commands(then)


def _asked_for(provider: str | None, known: list[Catalog], *, names: Sequence[str]) -> list[Catalog]:
    from anytune import providers as all_providers
    from anytune.config import nearest
    from anytune.errors import UsageError

    found = [catalog for catalog in known if provider in (None, catalog.provider)]
    if found or provider is None:
        return found
    if provider in names:
        fix = f"say in your settings what it tunes: catalog: {{{provider}: {{models: …}}}}"
        raise UsageError(f"there is no catalogue of {provider!r}", fix=fix)
    unknown = UsageError(f"there is no catalogue of {provider!r}", fix=nearest(provider, names))
    raise all_providers.gone(provider) or unknown


def _by(method: Method | None, catalog: Catalog) -> Catalog:
    kept = {name: entry for name, entry in catalog.models.items() if method is None or method in entry.methods}
    return catalog.model_copy(update={"models": kept})


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
