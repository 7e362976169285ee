"""Follow one job or all, here or in a process that goes on without the terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.commands.tell import Teller
    from anytune.jobs import Look, Sweep
    from anytune.tuner import Tuner

ALL = "anytune watch --all"


def watch(
    job: options.Wanted = None,
    every: options.All = False,
    detach: options.Detach = False,
    timeout: options.Timeout = None,
    as_json: options.Json = False,
) -> None:
    """Follow a job, or all, until they end; Ctrl-C leaves them running."""
    from anytune.errors import UsageError
    from anytune.tuner import Tuner

    if job is not None and every:
        raise UsageError("JOB and --all together: which is meant?", fix=f"{ALL}, or anytune watch JOB")
    tuner = Tuner()
    if detach:
        _detach(tuner, job, as_json=as_json)
    elif job is None:
        _all(tuner, timeout=timeout, as_json=as_json)
    else:
        _one(tuner, job, timeout=timeout, as_json=as_json)


def _one(tuner: Tuner, job: str, *, timeout: float | None, as_json: bool) -> None:
    from anytune.commands.order import ended_well, follow, leaving, unasked
    from anytune.ui import jobs as ui
    from anytune.ui import terminal

    with leaving("stopped watching", fix=shlex.join(["anytune", "watch", job])):
        seen = follow(tuner, options.named(tuner, job), timeout=timeout)
        then = ui.then(seen, after=("show", "watch", *unasked(tuner, seen)))
        if not as_json:
            ui.one(seen, events=tuner.known_events(seen.id), on=terminal.result())
            terminal.next_commands(then)
        ended_well(seen)
        if as_json:
            terminal.emit({"job": ui.document(seen)}, then=then)


def _all(tuner: Tuner, *, timeout: float | None, as_json: bool) -> None:
    from anytune.commands.order import Left
    from anytune.commands.tell import Teller
    from anytune.ui import many, terminal

    sweep = tuner.sweep()
    lines = terminal.progress() if as_json else terminal.result()
    try:
        with Teller(tuner) as teller:
            many.watch(_telling(teller, sweep.follow(timeout=timeout)), sweep, lines=lines)
    except KeyboardInterrupt:
        live = sum(job.live for job in sweep.jobs)
        raise Left(f"{live} job{' goes' if live == 1 else 's go'} on without you", fix=ALL) from None
    then = [("anytune list", "all jobs"), ("anytune show JOB", "how one stands")]
    document = {"jobs": [many.document(job) for job in sweep.jobs]}
    _all_ended_well(sweep, document)
    if as_json:
        terminal.emit(document, then=then)
        return
    if not sweep.jobs:
        options.named(tuner, "last")  # which says so where there has been none at all
        typer.echo("no job is live")
    terminal.next_commands(then)


def _telling(teller: Teller, looks: Iterator[Look]) -> Iterator[Look]:
    """Pass each look on, and have those whom the user named told of what it brought."""
    from anytune.jobs import Look, Notice

    for look in looks:
        teller.look()
        yield Look(look.changed, (*look.notices, *map(Notice, teller.wrong())))


def _all_ended_well(sweep: Sweep, document: dict[str, Any]) -> None:
    from anytune.commands.order import EndedBadly
    from anytune.jobs import BAD_ENDS

    bad = [job.id for job in sweep.jobs if job.state in BAD_ENDS]
    if bad:
        said = f"{len(bad)} of {len(sweep.jobs)} jobs ended badly: {', '.join(bad[:5])}{', …' if len(bad) > 5 else ''}"
        raise EndedBadly(said, fix=f"anytune show {bad[0]} says how it ended", document=document)


def _detach(tuner: Tuner, job: str | None, *, as_json: bool) -> None:
    """Start the one process of this home that watches all jobs, unless it runs already."""
    from anytune.ui import terminal

    if job is not None:
        tuner.job(job)  # which there must be
    worker = tuner.worker
    begun = worker.lease.take()
    pid = _started(tuner.settings.home, worker.lease.handed_on(), note=worker.note) if begun else worker.pid()
    worker.lease.release()
    then = [("anytune list", "how the jobs stand"), (ALL, "look on")]
    if as_json:
        terminal.emit({"worker": pid, "begun": begun}, then=then)
        return
    until = f"until they end; it writes to {tuner.settings.home / 'watch.log'}" if begun else "already"
    typer.echo(f"process {pid} watches all live jobs {until}")
    terminal.next_commands(then)


def _started(home: Path, handles: tuple[int, ...], *, note: Callable[[int], None]) -> int:
    """Start it with the lock that was taken for it, so that no moment lies between our hold and its own."""
    from anytune.errors import AnytuneError

    try:
        with open(home / "watch.log", "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "anytune", "watch", "--all"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=handles,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
    except OSError as error:
        raise AnytuneError(f"the process could not be started: {error.strerror}") from error
    note(child.pid)
    return child.pid
