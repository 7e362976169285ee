"""The life of a job: submit, list, show, events, cancel, resume."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.schema.job import Event, Job
    from anytune.tuner import Tuner

PATIENCE = 3.0  # seconds that `show` waits for events
ON_A_SCREEN = 50  # jobs that `list` shows there


def submit(
    job_file: options.JobFile = Path("finetune.yaml"),
    provider: options.Provider = None,
    model: options.Model = None,
    changes: options.Changes = None,
    yes: options.Yes = False,
    again: options.Again = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Start a job and leave it to itself; twice is one job."""
    from anytune.commands.order import Order, ended_well, leaving

    made = tuple(changes or ())
    order = Order(
        job_file, provider=provider, model=model, changes=made, force=force, yes=yes, again=again, verb="submit"
    )
    with leaving("stopped", fix=order.command("submit")):
        from anytune.tuner import Tuner
        from anytune.ui import jobs as ui
        from anytune.ui import terminal

        job = order.place(Tuner())
        ended_well(job, again=order.command("submit", "--again"))
        if as_json:
            terminal.emit({"job": ui.document(job)}, then=ui.then(job))
            return
        typer.echo(job.id)
        terminal.next_commands(ui.then(job))


def list_jobs(every: options.Every = False, as_json: options.Json = False) -> None:
    """List jobs, newest first, 50 on a screen; hosted ones as last seen."""
    from anytune.tuner import Tuner
    from anytune.ui import terminal

    tuner = Tuner()
    worker = tuner.worker.pid()
    if as_json:
        documents = tuner.all_documents()
        terminal.emit_many("jobs", documents, {"worker": worker}, then=_after_list(bool(documents)))
        return
    found = tuner.all_jobs()
    if found:
        from anytune.ui import jobs as ui  # and rich with it, which a document does not need

        ui.many(found, newest=None if every or not sys.stdout.isatty() else ON_A_SCREEN)
    else:
        typer.echo("no jobs so far")
    if worker is not None:
        terminal.note(f"a detached process ({worker}) watches them")
    terminal.next_commands(_after_list(bool(found)))


def _after_list(some: bool) -> list[tuple[str, str]]:
    if some:
        return [("anytune show JOB", "how one stands"), ("anytune watch JOB", "follow one")]
    return [("anytune init", "write a first job file"), ("anytune run finetune.yaml", "run one")]


def show(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """Show how a job stands."""
    from anytune.commands.order import unasked
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    seen, trouble = tuner.look(options.named(tuner, job))
    happened = _happened(tuner, seen, ask=trouble is None)
    then = ui.then(seen, after=("show", *unasked(tuner, seen)))
    if as_json:
        terminal.emit({"job": ui.document(seen), "trouble": trouble}, then=then)
        return
    ui.one(seen, events=happened, on=terminal.result())
    if trouble:
        terminal.note(f"as last seen {seen.updated_at:%Y-%m-%d %H:%M} UTC: {trouble}", style="yellow")
    terminal.next_commands(then)


def _happened(tuner: Tuner, job: Job, *, ask: bool) -> Sequence[Event]:
    """Take in the events where the provider answers at once; otherwise those known so far."""
    from anytune import jobs
    from anytune.errors import AnytuneError

    if ask:
        with suppress(AnytuneError):  # what is known is shown all the same
            jobs.fetch_events(job, desk=tuner.desk, patience=PATIENCE)
    return tuner.known_events(job.id)


def events(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """List what happened in a job, oldest first."""
    from anytune.commands.order import unasked
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    name = options.named(tuner, job)
    happened, known = tuner.events(name), tuner.job(name)
    then = ui.then(known, after=("events", *unasked(tuner, known)))
    if as_json:
        terminal.emit({"events": [event.model_dump(mode="json") for event in happened]}, then=then)
        return
    ui.events(happened, on=terminal.result())
    terminal.next_commands(then)


def cancel(job: options.JobName, yes: options.AtOnce = False, as_json: options.Json = False) -> None:
    """Stop a job, once it is said what that costs; harmless on one that has ended."""
    from anytune.commands.order import may_stop
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui

    tuner = Tuner()
    seen = tuner.job(options.named(tuner, job))
    if seen.state.is_terminal:
        ui.told(seen, as_json=as_json, cancelling=None)
        return
    costs = tuner.cancelling(seen.id)
    may_stop(seen, costs, yes=yes)
    ui.told(tuner.cancel(seen.id), as_json=as_json, cancelling=costs)


def pause(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """Have a running job halt at a checkpoint; resume goes on with it."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui

    tuner = Tuner()
    ui.told(tuner.pause(options.named(tuner, job)), as_json=as_json)


def resume(job: options.JobName = "last", yes: options.Yes = False, as_json: options.Json = False) -> None:
    """Go on with an interrupted job from its last checkpoint."""
    from anytune.commands.order import cannot_go_on, may_go_on
    from anytune.schema.job import JobState
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui

    tuner = Tuner()
    seen = tuner.refresh(options.named(tuner, job))
    if seen.state is JobState.PAUSED:
        may_go_on(seen, yes=yes, command=f"anytune resume {seen.id}")
        seen = tuner.resume(seen.id)
    cannot_go_on(seen)
    ui.told(seen, as_json=as_json)
