"""Order a job from the terminal: show its plan, ask before anything leaves, follow it, and leave it without harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from anytune.errors import (
    AnytuneError,
    CredentialError,
    JobFailedError,
    KeyRefusedError,
    MissingExtraError,
    NotYetError,
    OverBudgetError,
    ProviderError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from anytune.ui.nouns import Given

if TYPE_CHECKING:
    from anytune.commands.tell import Teller
    from anytune.jobs import Update
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


class ClosedPlanError(RefusedError):
    """Report a plan against which nothing stands but that the provider takes no such jobs any more."""


class BarredPlanError(RefusedError):
    """Report a plan against which nothing stands but where these data may go, or what may be spent."""


@dataclass(frozen=True)
class Order(Given):
    """Be what the user asked for on the command line."""

    yes: bool = False
    again: bool = False
    verb: str = "run"

    def place(self, tuner: Tuner) -> Job:
        """Submit where the job file says, or at the first of its fallbacks that takes the job.

        Each is planned and asked about by itself; one that was gone to before is gone to again, not made anew.
        """
        from anytune.ui import terminal

        asked = tuner.read(self.job_file, changes=self.changes, provider=self.provider, model=self.model)
        chain = tuner.chain(asked, again=self.again)
        for name in chain[1:]:  # what is wrong with the file is told before anybody is asked
            tuner.read(self.job_file, changes=self.changes, provider=name)
        passed: tuple[str, ...] = ()
        for number, (name, then) in enumerate(zip_longest(chain, chain[1:])):
            at = self if name == asked.provider else replace(self, provider=name, model=None)
            try:
                return at._place(tuner, instead_of=passed, last=then is None)
            except AnytuneError as error:
                if not _goes_on(error, first=number == 0):
                    raise
                if then is None and isinstance(error, UnavailableError | RateLimitedError):
                    _wait(error, passed, f"{self.command(self.verb)} goes on at {name}")
                    raise
                passed = (*passed, _short(name, error))
                if then is None:
                    raise _nobody(asked.name, passed, error) from error
            terminal.note(f"{passed[-1]}; going on to {then}", style="yellow")
        raise AssertionError("unreachable: the last one returns or raises")

    def _place(self, tuner: Tuner, *, instead_of: tuple[str, ...], last: bool) -> Job:
        """Show the plan, ask where money or data leaves, and submit; a job run before is taken up, not made again."""
        from anytune import jobs

        with leaving("stopped; nothing was sent", fix=self.command(self.verb)):
            plan, earlier = self._agreed(tuner)
        if earlier is not None and jobs.was_own(earlier) and not last:
            raise ClosedPlanError(earlier.error or f"refused {earlier.id}")
        if earlier is not None and earlier.state.is_terminal:
            return tuner.refresh(earlier.id) if earlier.to_remove else earlier
        known = earlier is not None and earlier.remote is not None
        with leaving("stopped while submitting; nothing is lost", fix=self.command(self.verb)):
            submit = tuner.submit if last else tuner.submit_or_leave
            job = _submitted(plan, lambda: submit(plan, again=self.again, instead_of=instead_of), quiet=known)
        if jobs.was_own(job) and not last:  # as another process was told meanwhile
            raise ClosedPlanError(job.error or f"refused {job.id}")
        return job

    def _agreed(self, tuner: Tuner) -> tuple[Plan, Job | None]:
        """Return the plan that may be carried out, and the job that it is already."""
        from anytune.ui import plan as ui
        from anytune.ui import terminal

        spec = tuner.read(self.job_file, changes=self.changes, provider=self.provider, model=self.model)
        plan = tuner.plan(spec, force=self.force, again=self.again)
        earlier = None if self.again or not plan.ok else tuner.earlier(plan)
        if earlier is None:
            tuner.require_key(plan)  # before a plan is shown and agreed to that cannot be carried out
            ui.summary(plan, on=terminal.progress())
        if not plan.ok:
            raise _against(plan)(
                f"{spec.name} is refused; nothing was sent", reasons=plan.refused, fix=ui.mend(plan, self)
            )
        if earlier is not None:
            terminal.note(f"the same file and data as {earlier.id} ({earlier.state}): it is not made again")
        elif not (plan.capabilities.local or self.yes):
            _consent(plan, self.command(self.verb))
        return plan, earlier


def _against(plan: Plan) -> type[RefusedError]:
    """Return what a refused plan raises, by what stands against it."""
    if plan.elsewhere:
        return ClosedPlanError
    return BarredPlanError if plan.passed_by else RefusedError


def _goes_on(error: AnytuneError, *, first: bool) -> bool:
    """Tell whether another provider may be asked: after a refusal of its own, or where a fallback is not set up for
    the job, may not have its data, or costs more than may be spent.
    """
    from anytune import jobs

    if isinstance(error, ClosedPlanError) or jobs.is_own(error):
        return True
    unready = isinstance(error, CredentialError | MissingExtraError) and not isinstance(error, KeyRefusedError)
    return not first and (unready or isinstance(error, BarredPlanError | OverBudgetError))


def _short(name: str, error: AnytuneError) -> str:
    far = isinstance(error, ProviderError)  # what it said stands in the message, the reasons say what came of it here
    why = "; ".join((error.message, *error.reasons) if far else error.reasons) or error.message
    return why if why.startswith(name) else f"{name}: {why}"


def _wait(error: AnytuneError, passed: tuple[str, ...], fix: str) -> None:
    """Let the error of the last provider say who refused before, and that the job waits for it."""
    error.reasons, error.fix = (*error.reasons, *passed), error.fix or fix


def _nobody(job: str, passed: tuple[str, ...], error: AnytuneError) -> AnytuneError:
    """Return the one error as it came, or say who refused where several did."""
    if len(passed) == 1:
        return error
    return RefusedError(f"no provider took {job}", reasons=passed, fix=error.fix)


def _submitted(plan: Plan, submit: Callable[[], Job], *, quiet: bool) -> Job:
    from anytune.ui import asking

    return submit() if quiet else asking.waiting(f"submitting to {plan.spec.provider}", submit)


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


def may_go_on(job: Job, *, yes: bool, command: str) -> None:
    """Ask before a paused job goes on where that may cost: at Hugging Face Jobs, one more machine."""
    from anytune.ui import terminal

    if job.plan.capabilities.local or yes:
        return
    cost = _once_more(job)
    if not terminal.can_ask():
        raise UsageError(
            f"{job.id} is paused; to go on at {job.provider} {cost}, and nobody is here to agree", fix=f"{command} -y"
        )
    question = f"\nGo on with {job.id} at {job.provider}? That {cost}. [y/N] "
    if terminal.ask(question).lower() not in {"y", "yes"}:
        raise RefusedError(f"you did not agree; {job.id} stays paused", fix=f"anytune cancel {job.id}")


def _once_more(job: Job) -> str:
    from anytune import jobs
    from anytune.ui import plan as ui
    from anytune.ui import words

    more = jobs.once_more(job)
    if more.high is None:
        return f"costs nobody knows how much ({more.basis})"
    if not more.high:
        return f"costs what is left of its estimate, {ui.price(job.plan.cost)}"
    return f"may cost up to {words.money(more.high)} again ({more.basis})"


def may_stop(job: Job, costs: str, *, yes: bool) -> None:
    """Say what cancelling costs before it happens, and let who sits at a terminal think again."""
    from anytune.ui import terminal

    terminal.note(f"cancelling {job.id}: {costs}")
    if yes or job.plan.capabilities.local or not terminal.can_ask():
        return
    if terminal.ask(f"Cancel {job.id} at {job.provider}? [y/N] ").lower() not in {"y", "yes"}:
        raise RefusedError(f"you did not agree; {job.id} goes on", fix=f"anytune watch {job.id}")


def follow(tuner: Tuner, job_id: str, *, timeout: float | None = None) -> Job:
    """Show a job until it ends or is interrupted."""
    from anytune.commands.tell import Teller
    from anytune.schema.job import JobState
    from anytune.ui import live

    job = tuner.job(job_id)
    try:
        with Teller(tuner) as teller:
            looks = _telling(teller, tuner.follow(job_id, timeout=timeout))
            job = live.watch(looks, job, known=tuner.known_events(job.id))
    except KeyboardInterrupt:
        raise Left(f"{job.id} goes on without you", fix=f"anytune watch {job.id}") from None
    if job.state is JobState.PAUSED:
        why = f": {job.error}" if job.error else ""
        raise NotYetError(f"{job.id} was interrupted{why}", fix=f"anytune resume {job.id}")
    return job


def _telling(teller: Teller, looks: Iterator[Update]) -> Iterator[Update]:
    """Pass each look on, and have those whom the user named told of what it brought."""
    for update in looks:
        teller.look()
        yield update


def unasked(tuner: Tuner, job: Job) -> tuple[str, ...]:
    """Return the verbs that ask a model, where nobody can ask those of this job's provider from here."""
    return () if tuner.answers(job.id) else ("chat", "eval")


def ended_well(job: Job, *, again: str = "anytune run FILE --again") -> None:
    """Raise `EndedBadly` for a job that failed or was cancelled; `again` is the command that makes another."""
    from anytune.schema.job import JobState
    from anytune.ui import jobs as ui

    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        why = f": {job.error}" if job.error else ""
        told = job.state is JobState.FAILED and job.remote is not None
        fix = f"{f'anytune events {job.id} says what happened; ' if told else ''}{again} makes another"
        document = {"job": ui.document(job), "next": [command for command, _ in ui.then(job, again=again)]}
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
