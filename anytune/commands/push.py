"""Bring an exported model to the Hub."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from anytune.commands import options
from anytune.errors import RefusedError, UsageError


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What anytune export has written.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A model repository; made if there is none.")],
    public: Annotated[bool, typer.Option("--public", help="Where everybody can read it; else it is private.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Push an exported model to the Hugging Face Hub."""
    from anytune.commands.order import leaving
    from anytune.jobs import push as pushing
    from anytune.tuner import Tuner
    from anytune.ui import asking, terminal, words

    again = shlex.join(["anytune", "push", str(folder), repository, *(["--public"] if public else [])])
    tuner = Tuner()
    with leaving("stopped; the repository shows all of it or nothing", fix=again):
        given = pushing.parcel(folder, desk=tuner.desk)
        if Path(given.base).expanduser().exists():
            terminal.note(
                f"{given.base} is a folder of this machine: who takes the model from the Hub may need it, too"
            )
        if not yes:
            _agree(f"{words.count(len(given.files), 'file')}, {words.size(given.bytes)}", repository, public, again)
        sent = asking.waiting(
            f"pushing to {repository}", lambda: pushing.push(given, repository, public=public, desk=tuner.desk)
        )
    if as_json:
        document = {"repository": repository, "job": given.job.id, "sent": sent, "files": len(given.files)}
        terminal.emit(document, then=[])
        return
    there = len(given.files) - len(sent)
    known = f"; {words.count(there, 'file')} lay there already" if there else ""
    typer.echo(f"pushed {words.count(len(sent), 'file')} of {given.job.id} to {repository}{known}")


def _agree(what: str, repository: str, public: bool, again: str) -> None:
    from anytune.ui import terminal

    if not terminal.can_ask():
        raise UsageError(f"{repository} would get {what}; nobody is here to agree", fix=f"{again} -y")
    whose = "where everybody can read it" if public else "which is private"
    if terminal.ask(f"Push {what} to {repository}, {whose}? [y/N] ").lower() not in {"y", "yes"}:
        raise RefusedError("you did not agree; nothing was sent")
