"""The life of a job: submit, watch, list, show, events, cancel, resume."""

from __future__ import annotations

from pathlib import Path

import typer

from anytune.commands import options


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
    from anytune.commands.order import Order
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    order = Order(job_file, provider=provider, model=model, changes=tuple(changes or ()), force=force)
    job = order.place(yes=yes, again=again)
    if as_json:
        terminal.emit({"job": ui.document(job)}, then=ui.then(job))
        return
    typer.echo(job.id)
    terminal.next_commands(ui.then(job))


def watch(job: options.JobName = "last", timeout: options.Timeout = None, as_json: options.Json = False) -> None:
    """Follow a job until it ends; Ctrl-C leaves it running."""
    from anytune.commands.order import ended_well, follow
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    seen = follow(tuner, job, timeout=timeout)
    if as_json:
        terminal.emit({"job": ui.document(seen)}, then=ui.then(seen))
    else:
        ui.one(seen, events=tuner.known_events(seen.id), on=terminal.result())
        terminal.next_commands(ui.then(seen))
    ended_well(seen)


def list_jobs(as_json: options.Json = False) -> None:
    """List all jobs, newest first; hosted ones as last seen."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    found = Tuner().all_jobs()
    then = (
        [("anytune show JOB", "how one stands"), ("anytune watch JOB", "follow one")]
        if found
        else [("anytune init", "write a first job file"), ("anytune run finetune.yaml", "run one")]
    )
    if as_json:
        terminal.emit({"jobs": [ui.document(job) for job in found]}, then=then)
        return
    if found:
        ui.many(found, on=terminal.result())
    else:
        typer.echo("no jobs so far")
    terminal.next_commands(then)


def show(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """Show how a job stands."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    seen, trouble = tuner.look(job)
    if as_json:
        terminal.emit({"job": ui.document(seen), "trouble": trouble}, then=ui.then(seen))
        return
    ui.one(seen, events=tuner.known_events(seen.id), on=terminal.result())
    if trouble:
        terminal.note(f"as last seen {seen.updated_at:%Y-%m-%d %H:%M} UTC: {trouble}", style="yellow")
    terminal.next_commands(ui.then(seen))


def events(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """List what happened in a job, oldest first."""
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    tuner = Tuner()
    happened, then = tuner.events(job), ui.then(tuner.job(job))
    if as_json:
        terminal.emit({"events": [event.model_dump(mode="json") for event in happened]}, then=then)
        return
    ui.events(happened, on=terminal.result())
    terminal.next_commands(then)


def cancel(job: options.JobName, as_json: options.Json = False) -> None:
    """Stop a job; harmless on one that has ended."""
    from anytune.tuner import Tuner

    _told(Tuner().cancel(job).id, as_json=as_json)


def resume(job: options.JobName = "last", as_json: options.Json = False) -> None:
    """Go on with an interrupted job from its last checkpoint."""
    from anytune.tuner import Tuner

    _told(Tuner().resume(job).id, as_json=as_json)


def _told(job_id: str, *, as_json: bool) -> None:
    from anytune.tuner import Tuner
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    job = Tuner().job(job_id)
    if as_json:
        terminal.emit({"job": ui.document(job)}, then=ui.then(job))
        return
    typer.echo(f"{job.id} {job.state}")
    terminal.next_commands(ui.then(job))
