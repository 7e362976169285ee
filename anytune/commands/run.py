"""The main verb: plan, confirm, submit, watch, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from anytune.commands.order import Order
    from anytune.schema.evals import EvalReport
    from anytune.schema.job import Job
    from anytune.tuner import Tuner


def run(
    job_file: options.JobFile = Path("finetune.yaml"),
    provider: options.Provider = None,
    model: options.Model = None,
    changes: options.Changes = None,
    yes: options.Yes = False,
    again: options.Again = False,
    no_eval: Annotated[bool, typer.Option("--no-eval", help="Do not compare with the base at the end.")] = False,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Plan, ask, submit, watch and compare; twice is one job."""
    from anytune.commands.order import Order, leaving

    made = tuple(changes or ())
    order = Order(job_file, provider=provider, model=model, changes=made, force=force, yes=yes, again=again)
    with leaving("stopped", fix=order.command("run")):
        _run(order, no_eval=no_eval, as_json=as_json)


def _run(order: Order, *, no_eval: bool, as_json: bool) -> None:
    from anytune.commands.order import ended_well, follow, unasked
    from anytune.tuner import Tuner
    from anytune.ui import evals, terminal
    from anytune.ui import jobs as ui

    tuner = Tuner()
    job = order.place(tuner)
    if not job.state.is_terminal:
        job = follow(tuner, _under_way(tuner, job, order).id)
    ended_well(job, again=order.command("run", "--again"))
    report = None if no_eval else compared(tuner, job)
    then = ui.then(job, after=("show", *unasked(tuner, job), *(("eval",) if report is not None else ())))
    if as_json:
        terminal.emit({"job": ui.document(job), "evaluation": evals.document(report)}, then=then)
        return
    ui.one(job, events=tuner.known_events(job.id), on=terminal.result())
    if report is not None:
        typer.echo()
        evals.show(report, on=terminal.result())
    terminal.next_commands(then)


def _under_way(tuner: Tuner, job: Job, order: Order) -> Job:
    """Take up a run that was interrupted."""
    from anytune.commands.order import may_go_on
    from anytune.schema.job import JobState
    from anytune.ui import terminal

    job = tuner.refresh(job.id)
    if job.state is not JobState.PAUSED:
        return job
    may_go_on(job, yes=order.yes, command=order.command("run"))
    terminal.note(f"{job.id} was interrupted and goes on: {job.error or 'from its last checkpoint'}")
    return tuner.resume(job.id)


def compared(tuner: Tuner, job: Job) -> EvalReport | None:
    """Return the kept comparison, or ask both models now; None where there is nothing to ask or nobody to answer."""
    from anytune.commands.order import Left
    from anytune.ui import asking, terminal

    if job.plan.spec.data.test is None:
        terminal.note("no test data in the job file, so no comparison (data.test)")
        return None
    if not tuner.answers(job.id):
        terminal.note(f"models at {job.provider} cannot be asked from here, so no comparison")
        return None
    kept = tuner.kept_evaluation(job.id)
    if kept is not None:
        terminal.note(f"this comparison was made before; anytune eval {job.id} makes it anew")
        return kept
    try:
        return asking.counted(lambda progress: tuner.evaluate(job.id, progress=progress))
    except KeyboardInterrupt:
        raise Left(f"{job.id} is trained; the comparison was left", fix=f"anytune eval {job.id}") from None
