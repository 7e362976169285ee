"""The arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from anytune.tuner import Tuner

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.", show_default=True)]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job: its id, the beginning of one, its name, or last.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Providers = Annotated[
    list[str] | None, typer.Option("--for", metavar="PROVIDER", help="Only what this provider minds; repeatable.")
]
DataMethod = Annotated[Literal["sft", "dpo", "rft"], typer.Option("--method", help="What the data is for.")]
Provider = Annotated[str | None, typer.Option(metavar="NAME", help="Train there instead of where the file says.")]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="Tune this base model instead.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. training.epochs=1.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money or data leaves.")]
AtOnce = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask once more.")]
Again = Annotated[bool, typer.Option("--again", help="Make another job even if this one was run before.")]
Wanted = Annotated[
    str | None, typer.Argument(metavar="JOB", help="A job: its id, the beginning of one, its name, or last.")
]
All = Annotated[bool, typer.Option("--all", help="Follow all live jobs in one table; so without JOB.")]
Every = Annotated[bool, typer.Option("--all", help="On a screen, too, show every job and not only the newest.")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to a process that goes on without the terminal.")]
Timeout = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Stop waiting after so long (exit 7).")]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to write; FILE.prepared.jsonl beside it if not said.")
]
Step = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="The checkpoint of this step (anytune checkpoints lists them).")
]
Replace = Annotated[bool, typer.Option("--force", help="Replace the file that is to be written.")]
Force = Annotated[bool, typer.Option("--force", help="Try a model or a date that the catalogue says is closed.")]


def named(tuner: Tuner, job: str) -> str:
    """Return the name as it is, and for `last` the newest job's id; raise `UsageError` if there is no job at all."""
    return tuner.job(job).id if job == "last" else job
