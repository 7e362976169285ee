"""Order a job from the terminal: show its plan, ask before anything leaves, follow it, and leave it without harm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anytune.errors import AnytuneError, JobFailedError, NotYetError, RefusedError, UsageError

if TYPE_CHECKING:
    from anytune.schema.job import Job
    from anytune.schema.plan import Plan
    from anytune.tuner import Tuner


class Left(AnytuneError):
    """Report that the user pressed Ctrl-C while a job goes on."""

    exit_code = 130


@dataclass(frozen=True)
class Order:
    """Be what the user asked for on the command line."""

    job_file: Path
    provider: str | None = None
    model: str | None = None
    changes: tuple[str, ...] = ()
    force: bool = False

    @property
    def command(self) -> str:
        """Return the command that does the same again."""
        from anytune.ui.plan import run_command

        return run_command(self.job_file, provider=self.provider, model=self.model, changes=self.changes)

    def place(self, *, yes: bool = False, again: bool = False, tuner: Tuner | None = None) -> Job:
        """Show the plan, ask where money or data leaves, and submit; a job run before is taken up, not made again."""
        from anytune.tuner import Tuner
        from anytune.ui import asking, terminal
        from anytune.ui import plan as ui

        tuner = tuner or Tuner()
        spec = tuner.read(self.job_file, changes=self.changes, provider=self.provider, model=self.model)
        plan = tuner.plan(spec, force=self.force)
        earlier = None if again or not plan.ok else tuner.earlier(plan)
        if earlier is None:
            ui.summary(plan, on=terminal.progress())
        if not plan.ok:
            raise RefusedError(f"{spec.name} is refused; nothing was sent", reasons=plan.refused, fix=ui.mend(plan))
        if earlier is not None:
            terminal.note(f"the same file and data as {earlier.id} ({earlier.state}): it is not made again")
        elif not (plan.capabilities.local or yes):
            _consent(plan, self.command)
        try:
            return asking.waiting(f"submitting to {spec.provider}", lambda: tuner.submit(plan, again=again))
        except KeyboardInterrupt:
            raise Left("stopped while submitting; nothing is lost", fix=self.command) from None


def _consent(plan: Plan, command: str) -> None:
    from anytune.ui import plan as ui
    from anytune.ui import terminal

    if not terminal.can_ask():
        raise UsageError(
            f"{plan.spec.provider} would get the data and charge {ui.price(plan.cost)}; nobody is here to agree",
            fix=f"{command} -y",
        )
    examples = sum(file.examples for file in plan.files)
    question = f"\nSend {examples:,} examples to {plan.spec.provider}, cost {ui.price(plan.cost)}? [y/N] "
    if terminal.ask(question).lower() not in {"y", "yes"}:
        raise RefusedError("you did not agree; nothing was sent")


def follow(tuner: Tuner, job_id: str, *, timeout: float | None = None) -> Job:
    """Show a job until it ends or is interrupted."""
    from anytune.schema.job import JobState
    from anytune.ui import live

    job = tuner.job(job_id)
    try:
        job = live.watch(tuner.follow(job.id, timeout=timeout), job, known=tuner.known_events(job.id))
    except KeyboardInterrupt:
        raise Left(f"{job.id} goes on without you", fix=f"anytune watch {job.id}") from None
    if job.state is JobState.PAUSED:
        why = f": {job.error}" if job.error else ""
        raise NotYetError(f"{job.id} was interrupted{why}", fix=f"anytune resume {job.id}")
    return job


def ended_well(job: Job, *, again: str | None = None) -> None:
    """Raise `JobFailedError` for a job that failed or was cancelled."""
    from anytune.schema.job import JobState

    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        why = f": {job.error}" if job.error else ""
        fix = again or f"anytune events {job.id} says what happened"
        raise JobFailedError(f"{job.id} {job.state}{why}", fix=fix)
