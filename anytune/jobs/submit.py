"""From a plan to a job at its provider: the intent is written before each act, the outcome right after.

A process killed between any two steps leaves a record from which the next command finishes the work:

    put(SUBMITTING) → reserve → upload → put(file ids) → quote ≤ budget → reserve → put(creating) → create → put(remote)
                                                            refused for good: put(FAILED, to_remove) → remove the files

A record that says `creating` without a remote job may stand for one that exists: it is looked for by our job id, which
travels with the request, before anything is created again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal

from anytune import planner, providers, retry, spending
from anytune.errors import (
    AmbiguousError,
    ClosedError,
    ConflictError,
    OverBudgetError,
    QuotaError,
    RefusedError,
    RejectedError,
    StoreError,
)
from anytune.jobs import tidy
from anytune.jobs.desk import BAD_ENDS, Desk, put, record
from anytune.jobs.permit import permit
from anytune.jobs.reserve import limits_of, reserve
from anytune.jobs.upload import upload
from anytune.providers.base import Provider, Quotes
from anytune.schema.job import Cause, Job, JobState
from anytune.schema.plan import Plan

CREATE_ROUNDS = 3
LIST_LAG = 30.0  # seconds for which a provider's list may not show a new job
FILE_CHECKS = 1800.0  # seconds that a provider may take to look through an uploaded file before it takes the job


def submit(plan: Plan, *, desk: Desk, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
    """Carry out a plan once: the same name, provider, settings and data are the same job.

    `again` makes another; `instead_of` says who refused it before and why. Raises `RefusedError` for a refused plan
    (nothing is sent or written), `ConflictError` when the name stands for other content, and what the provider
    answered; the job is kept whenever it may still go on.
    """
    return carry_on(intend(plan, desk=desk, again=again, instead_of=instead_of).id, desk=desk, plan=plan)


def carry_on(job_id: str, *, desk: Desk, plan: Plan | None = None) -> Job:
    """Finish a submit from wherever it stopped; one process at a time acts for a job.

    `plan` is the same job planned anew: its budget and the places of its files hold now. Where the data would go is
    judged by the provider's profile as it is now, for that is where they would be sent.
    """
    with desk.store.acting(job_id):
        job = desk.store.get(job_id)
        if job.state is not JobState.SUBMITTING:
            return tidy.remove(job, desk)[0]
        provider = desk.provider(job.provider)
        if job.cancel_wanted:
            return stop(job, provider, desk)
        if plan is not None and (plan, desk.policy) != (job.plan, job.policy):
            job = put(job, desk, plan=plan, policy=desk.policy)
        permit(
            job,
            act="submit",
            data=planner.sent(job.plan.data),
            capabilities=desk.place(provider.capabilities(job.plan.spec.model)),
            desk=desk,
            fix=f"anytune cancel {job.id}",
        )
        try:
            if job.creating is None:  # else it may have been ordered, and counts for that month
                job = reserve(job, job.plan.cost, desk, quote=job.quote)
            job = upload(job, provider, desk)
            return _create(job, provider, desk)
        except RejectedError as error:
            _refused(desk.store.get(job_id), error, desk)
            raise


def _refused(job: Job, error: RejectedError, desk: Desk) -> None:
    """Write the end down; after a refusal for good, remove what was sent, and let the error say so."""
    unneeded = tidy.leftovers(job, error, desk)
    orders = job.orders if job.creates > 1 else spending.void(job.orders)  # an earlier create may have made a job
    said = {"error": error.message, "cause": _cause(error), "to_remove": unneeded, "orders": orders}
    job = put(job, desk, state=JobState.FAILED, **said)
    error.reasons = (*error.reasons, *tidy.remove(job, desk)[1])
    if isinstance(error, ClosedError):
        others = ", ".join(name for name in providers.names() if name != job.provider)
        error.fix = f"{error.fix or 'use another provider'}: {others} (anytune plan FILE --all compares them)"


def stop(job: Job, provider: Provider, desk: Desk) -> Job:
    """Cancel the remote job, if there is one; none is made any more."""
    if job.remote is None and job.creating is not None:
        job = adopted(job, provider, desk) or job
    if job.remote is None:
        return put(job, desk, state=JobState.CANCELLED, cause="user", orders=spending.void(job.orders))
    remote_id = job.remote.id
    return record(job, retry.call(lambda: provider.cancel(remote_id), clock=desk.clock), desk)


def intend(plan: Plan, *, desk: Desk, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
    """Write down that a plan is to be carried out and return its job, or the one that it is already.

    `instead_of` says who refused it before and why. Raises as `submit` does before anything is sent.
    """
    if not plan.ok:
        raise RefusedError(f"{plan.spec.name} is refused by the plan", reasons=plan.refused)
    attempts = _attempts(plan, desk)  # read once: whoever looks twice may take another's job for an earlier attempt
    if not again and (settled := _settled(plan, attempts)) is not None:
        return settled
    last = next(iter(attempts), None)
    if last is not None and not again and _never_sent(last):
        _give_up(last, desk)
        return intend(plan, desk=desk, again=again, instead_of=instead_of)
    now = desk.clock.now()
    wanted = Job(
        id=f"{plan.spec.name[:24].rstrip('-._').lower()}-{secrets.token_hex(5)}",
        provider=plan.spec.provider,
        plan=plan,
        attempt=last.attempt + 1 if last else 1,
        instead_of=instead_of,
        project=desk.project,
        by=desk.who,
        limits=desk.limits,
        policy=desk.policy,
        created_at=now,
        updated_at=now,
    )
    stored = desk.store.add(wanted)
    if stored.id == wanted.id:
        return stored
    return _same(stored, plan) or intend(plan, desk=desk, again=again, instead_of=instead_of)


def earlier(plan: Plan, *, desk: Desk) -> Job | None:
    """Return the job that this plan is already, None when its name is free; else raise `ConflictError`."""
    return _settled(plan, _attempts(plan, desk))


def _settled(plan: Plan, attempts: Sequence[Job]) -> Job | None:
    alive = (job for job in attempts if job.plan.fingerprint == plan.fingerprint and job.state not in BAD_ENDS)
    return next(alive, None) or (_same(attempts[0], plan) if attempts else None)


def _attempts(plan: Plan, desk: Desk) -> list[Job]:
    known = desk.store.list(name=plan.spec.name, provider=plan.spec.provider)
    return sorted(known, key=lambda job: job.attempt, reverse=True)


def _same(job: Job, plan: Plan) -> Job | None:
    """Return the job when it is the plan's, None when its name is free again; else the name is taken."""
    if job.plan.fingerprint == plan.fingerprint:
        return job
    if job.state in BAD_ENDS or _never_sent(job):
        return None
    raise ConflictError(
        f"{plan.spec.name!r} at {plan.spec.provider} is {job.id} ({job.state}), with other settings or data",
        fix="give the job another name, or --again makes a second one under this name",
    )


def _never_sent(job: Job) -> bool:
    return job.state is JobState.SUBMITTING and not job.files and job.creating is None


def _give_up(job: Job, desk: Desk) -> None:
    """Cancel a job that was written down and never sent, as other content takes its name; one being sent keeps it."""
    with desk.store.acting(job.id):
        job = desk.store.get(job.id)
        if _never_sent(job):
            orders = spending.void(job.orders)
            said = "nothing was sent; the job file changed"
            put(job, desk, state=JobState.CANCELLED, cause="user", error=said, orders=orders)


def _create(job: Job, provider: Provider, desk: Desk) -> Job:
    request = provider.render(
        job.plan.spec,
        job_id=job.id,
        training_file=job.files["train"],
        validation_file=job.files.get("validation"),
    )
    if job.creating is not None and (taken_up := adopted(job, provider, desk)) is not None:
        return taken_up
    job = reserve(job, job.plan.cost, desk, quote=_quoted(job, provider, request, desk))
    job = job if job.creating is None or job.creates else job.model_copy(update={"creates": 1})  # of an older record
    for last in (*[False] * (CREATE_ROUNDS - 1), True):
        before, job = job, put(job, desk, creating=desk.clock.now(), creates=job.creates + 1)
        try:
            remote = retry.call(
                lambda: provider.create(request),
                clock=desk.clock,
                repeat=retry.SURELY_NOT_DONE,
                deadline=FILE_CHECKS,
            )
        except AmbiguousError:
            if (taken_up := adopted(job, provider, desk)) is not None:
                return taken_up
            if last:
                raise
        except (*retry.SURELY_NOT_DONE, StoreError):  # the gate's, before it was sent: no provider has a record
            if desk.store.get(job.id) == job:  # nothing was sent, so nothing has changed
                desk.store.put(before)
            raise
        except RejectedError:
            if job.creates > 1 and (taken_up := adopted(job, provider, desk)) is not None:
                return taken_up  # the answer to an earlier create was lost, and what it made may be why
            raise
        else:
            return record(job, remote, desk)
    raise AssertionError("unreachable: the last round returns or raises")


def adopted(job: Job, provider: Provider, desk: Desk) -> Job | None:
    """Look for the remote job that carries our id, as long as the provider's list may lag behind.

    The lag counts from now: `creating` may be long before the call whose answer was lost, and clocks jump. A provider
    that will not let us look leaves it open whether there is one, so the job is kept.
    """
    until = desk.clock.monotonic() + (0.0 if job.plan.capabilities.local else LIST_LAG)
    while True:
        try:
            found = retry.call(lambda: provider.find(job.id), clock=desk.clock)
        except RejectedError as error:
            said = f"{job.provider} may have {job.id}, but: {error.message}"
            raise AmbiguousError(said, fix=error.fix or word_wanted(job)) from error
        if found is not None:
            return record(job, found, desk)
        left = until - desk.clock.monotonic()  # exact near the end, so that the last wait always reaches it
        if left <= 0:
            return None
        desk.clock.sleep(min(5.0, left))


def word_wanted(job: Job) -> str:
    """Name what a user can say of a job of which nobody here can tell whether its provider has it."""
    return f"look there, then anytune adopt {job.id} ITS-ID, or anytune abandon {job.id} if it has none"


def _quoted(job: Job, provider: Provider, request: dict[str, object], desk: Desk) -> Decimal | None:
    """Ask for the exact price where there is a budget; raise `OverBudgetError` for one above the job's own."""
    budget = job.plan.spec.budget
    if not isinstance(provider, Quotes) or (budget is None and not limits_of(job, desk)):
        return job.quote
    price = retry.call(lambda: provider.quote(request), clock=desk.clock, deadline=FILE_CHECKS)
    if budget is not None and price is not None and price > budget.usd:
        raise OverBudgetError(f"{job.provider} quotes ${price:.2f}, the budget is ${budget.usd:.2f}")
    return price if price is not None else job.quote


def _cause(error: RejectedError) -> Cause:
    if isinstance(error, QuotaError):
        return "user" if isinstance(error, OverBudgetError) else "billing"
    return "provider" if isinstance(error, ClosedError) or error.param == "model" else "user"
