"""Order a job from the terminal: show its plan, ask before anything leaves, follow it, and leave it without harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anytune.errors import AnytuneError, JobFailedError, NotYetError, RefusedError, UsageError
from anytune.ui.nouns import Given

if TYPE_CHECKING:
    from anytune.schema.job import Job
    from anytune.schema.plan import Plan
    from anytune.tuner import Tuner


class Left(AnytuneError):
    """Report that the user pressed Ctrl-C."""

    exit_code = 130


class EndedBadly(JobFailedError):
    """Report a job that failed or was cancelled; `document` is the job for `--json`."""

    def __init__(self, message: str, *, fix: str, document: dict[str, Any]) -> None:
        super().__init__(message, fix=fix)
        self.document = document


@contextmanager
def leaving(message: str, *, fix: str) -> Iterator[None]:
    """Let Ctrl-C say what was stopped, and how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        raise Left(message, fix=fix) from None


class Order(Given):
    """Be what the user asked for on the command line."""

    def place(self, tuner: Tuner, *, yes: bool = False, again: bool = False, verb: str = "run") -> Job:
        """Show the plan, ask where money or data leaves, and submit; a job run before is taken up, not made again."""
        with leaving("stopped; nothing was sent", fix=self.command("run")):
            plan, earlier = self._agreed(tuner, yes=yes, again=again, verb=verb)
        if earlier is not None and earlier.state.is_terminal:
            return earlier
        with leaving("stopped while submitting; nothing is lost", fix=self.command("run")):
            return _submitted(tuner, plan, again=again, quiet=earlier is not None and earlier.remote is not None)

    def _agreed(self, tuner: Tuner, *, yes: bool, again: bool, verb: str) -> tuple[Plan, Job | None]:
        """Return the plan that may be carried out, and the job that it is already."""
        from anytune.ui import plan as ui
        from anytune.ui import terminal

        spec = tuner.read(self.job_file, changes=self.changes, provider=self.provider, model=self.model)
        plan = tuner.plan(spec, force=self.force)
        earlier = None if again or not plan.ok else tuner.earlier(plan)
        if earlier is None:
            ui.summary(plan, on=terminal.progress())
        if not plan.ok:
            raise RefusedError(
                f"{spec.name} is refused; nothing was sent", reasons=plan.refused, fix=ui.mend(plan, self)
            )
        if earlier is not None:
            terminal.note(f"the same file and data as {earlier.id} ({earlier.state}): it is not made again")
        elif not (plan.capabilities.local or yes):
            _consent(plan, self.command(verb))
        return plan, earlier


def _submitted(tuner: Tuner, plan: Plan, *, again: bool, quiet: bool) -> Job:
    from anytune.ui import asking

    if quiet:
        return tuner.submit(plan, again=again)
    return asking.waiting(f"submitting to {plan.spec.provider}", lambda: tuner.submit(plan, again=again))


def _consent(plan: Plan, command: str) -> None:
    from anytune.ui import plan as ui
    from anytune.ui import terminal, words

    if not terminal.can_ask():
        raise UsageError(
            f"{plan.spec.provider} would get the data and charge {ui.price(plan.cost)}; nobody is here to agree",
            fix=f"{command} -y",
        )
    examples = words.count(sum(file.examples for file in plan.files), "example")
    question = f"\nSend {examples} to {plan.spec.provider}, cost {ui.price(plan.cost)}? [y/N] "
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


def ended_well(job: Job, *, again: str = "anytune run FILE --again") -> None:
    """Raise `EndedBadly` for a job that failed or was cancelled; `again` is the command that makes another."""
    from anytune.schema.job import JobState
    from anytune.ui import jobs as ui

    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        why = f": {job.error}" if job.error else ""
        told = job.state is JobState.FAILED and job.remote is not None
        fix = f"{f'anytune events {job.id} says what happened; ' if told else ''}{again} makes another"
        document = {"job": ui.document(job), "next": [command for command, _ in ui.then(job)]}
        raise EndedBadly(f"{job.id} {job.state}{why}", fix=fix, document=document)


def cannot_go_on(job: Job) -> None:
    """Raise `EndedBadly` for a job that was to be resumed and cannot be."""
    from anytune.schema.job import JobState
    from anytune.ui import jobs as ui

    document = {"job": ui.document(job), "next": [command for command, _ in ui.then(job)]}
    if job.state is JobState.CANCELLING:
        fix = f"anytune watch {job.id}"
        raise EndedBadly(f"{job.id} is being cancelled and cannot be resumed", fix=fix, document=document)
    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        fix = "anytune run FILE --again makes another"
        raise EndedBadly(f"{job.id} {job.state} and cannot be resumed", fix=fix, document=document)
