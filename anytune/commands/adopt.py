"""The user's word on jobs: take one in, say which remote job is ours, say that there is none."""

from __future__ import annotations

from typing import Annotated

import typer

from anytune.commands import options

WHOSE = "A provider's name, or a job of ours whose submit was left open."


def adopt(
    whose: Annotated[str, typer.Argument(metavar="PROVIDER|JOB", help=WHOSE)],
    remote_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id at its provider.")],
    as_json: options.Json = False,
) -> None:
    """Take in a job made elsewhere, or say which one is ours."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    taken = tuner.adopt(whose, remote_id)
    if taken.cancel_wanted:
        terminal.note(f"{taken.id} was to be cancelled: it is stopped, if it had not ended", style="yellow")
    ui.told(taken, as_json=as_json)


def abandon(job: options.JobName, as_json: options.Json = False) -> None:
    """Give up a job that its provider does not have."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    ended = tuner.abandon(options.named(tuner, job))
    if ended.error:
        terminal.note(f"{ended.id}: {ended.error}", style="yellow")
    ui.told(ended, as_json=as_json)
