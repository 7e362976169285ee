"""Check data files before a byte leaves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.config import Settings
    from anytune.data.privacy.text import Finder
    from anytune.look import Look

_EVERY = 1_000_000
_FEW = 20


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Data files, one JSON object a line.")],
    providers: options.Providers = None,
    method: options.DataMethod = "sft",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Pass over a fault by its code; repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Count tokens as this model does, and hold to its limit.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tell of examples longer than so many tokens.")
    ] = None,
    over_length: Annotated[
        Literal["refuse", "drop", "truncate_left", "truncate_right"] | None,
        typer.Option(help="What anytune's own trainer is to do with these; drop if not said."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Count the tokens of all examples, not of a sample.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Tell of what stands in this held-out file, too.")
    ] = None,
    near: Annotated[bool, typer.Option("--near", help="Tell of near duplicates and near leaks, too.")] = False,
    private: Annotated[bool, typer.Option("--privacy", help="Look for personal data, secrets and keys, too.")] = False,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="And for names of people in a text of this language, such as en (needs the extra names).",
        ),
    ] = None,
    redact: Annotated[
        Path | None, typer.Option(metavar="COPY", help="Write a copy of the one FILE with placeholders for these.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every fault whole, not one of a kind.")] = False,
    form: Annotated[
        Literal["text", "json", "github", "sarif"], typer.Option("--format", help="How to print it.")
    ] = "text",
    as_json: options.Json = False,
) -> None:
    """Find every fault in data files before a byte leaves."""
    from anytune import look as look_at
    from anytune.data.check import BUILT_IN
    from anytune.errors import UsageError
    from anytune.ui import report, terminal

    if as_json and form not in {"text", "json"}:
        raise UsageError(f"--format {form} and --json do not go together", fix="choose one of them")
    finder = _finder(names) if names is not None else None
    if redact is not None:
        _write_redacted(files, redact, finder)
    wanted = private or redact is not None or finder is not None
    look = look_at.Look(model, max_length, over_length, exact, against, near, private=wanted, names=finder)
    found = look_at.check(
        files,
        settings=_settings(),
        for_providers=_known(tuple(providers or sorted(BUILT_IN))),
        method=method,
        ignore=frozenset(ignore or ()),
        show=_EVERY if every else _FEW,
        look=look if look != look_at.Look() else None,
    )
    named = {"--for": providers or (), "--ignore": ignore or (), "--method": () if method == "sft" else (method,)}
    also = [part for option, values in named.items() for one in values for part in (option, one)]
    then = report.then(found, also, _looked(look), redacted=redact)
    if as_json or form == "json":
        terminal.emit(report.document(found), then=then)
    elif form == "github":
        report.annotate(found)
    elif form == "sarif":
        from anytune.ui import sarif

        typer.echo(json.dumps(sarif.document(found), indent=2))
    else:
        (report.show_all if every else report.show)(found, on=terminal.screen(sys.stdout))
        terminal.next_commands(then)
    raise typer.Exit(0 if found.ok else 3)


def _looked(look: Look) -> list[str]:
    """Return the options that make the same look again."""
    named = {
        "--model": look.model,
        "--max-length": look.max_length,
        "--over-length": look.over_length,
        "--against": look.against,
    }
    values = [part for option, value in named.items() if value is not None for part in (option, str(value))]
    flags = {"--exact": look.exact, "--near": look.near, "--privacy": look.private}
    return values + [flag for flag, given in flags.items() if given]


def _settings() -> Settings | None:
    """Read the settings where there are any: what reads them costs as much as the check of a small file."""
    from anytune import config

    folder = Path.cwd()
    if not config.places(folder=folder, environment=os.environ).written:
        return None
    return config.load_settings(folder=folder, environment=os.environ)


def _known(providers: tuple[str, ...]) -> tuple[str, ...]:
    """Return whose rules hold; raise `UsageError` for a name that neither they, a plug-in nor a profile has."""
    from anytune.data.check import COLUMNS

    if all(name in COLUMNS for name in providers):
        return providers
    from anytune.tuner import Tuner

    return Tuner().reach.judges(providers)


def _finder(language: str) -> Finder:
    """Return what finds names of people; made before any file is read, for it may be missing."""
    from anytune.data.privacy.names import presidio

    return presidio(language=language)


def _write_redacted(files: list[Path], copy: Path, names: Finder | None) -> None:
    from anytune.data.privacy import redact
    from anytune.errors import UsageError
    from anytune.ui import terminal, words

    if len(files) != 1:
        raise UsageError("--redact writes a copy of one file", fix="name one file at a time")
    done = redact(files[0], copy, names=names)
    terminal.note(f"wrote {words.place(copy)}: {words.count(sum(done.counts.values()), 'placeholder')}")
