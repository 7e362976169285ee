"""The one gate before data leave: what the rules say now, written down before anything is sent."""

from __future__ import annotations

from anytune import planner, policy
from anytune.errors import RefusedError
from anytune.jobs.desk import Desk
from anytune.schema.audit import Act, Datum, Decision
from anytune.schema.data import DataReport
from anytune.schema.job import Job
from anytune.schema.plan import Capabilities, Policy
from anytune.schema.spec import TuneSpec

TRAINS = ("submit", "resume")  # acts after which a provider may tell others how the job goes
MAY_NOT = {"resume": "it may not go on at", "push": "what learned from its data may not go to"}


def permit(
    job: Job,
    *,
    act: Act,
    data: DataReport,
    capabilities: Capabilities,
    desk: Desk,
    fix: str | None = None,
    found: tuple[str, ...] = (),
) -> None:
    """Decide whether these data may go to a provider, and write it down; raise `RefusedError` when not.

    A model is pushed to the provider of `capabilities`, all else goes to the job's own. Two policies hold: that of
    where we are, as it is now, and the one under which the job was made, which may be another project's. `found` are
    reasons against it that stand in no file. What was decided so already, and nothing was done since, is not written
    again.
    """
    provider = capabilities.provider if act == "push" else job.provider
    spec, held = job.plan.spec.model_copy(update={"provider": provider}), desk.policy.and_also(job.policy)
    reported = policy.reports(spec, held) if act in TRAINS else ()
    reasons = (*planner.withheld(spec, data, capabilities, held), *reported, *found)
    decision = Decision(
        at=desk.clock.now(),
        job_id=job.id,
        act=act,
        provider=provider,
        place=_place(capabilities),
        data=tuple(_data(data)),
        rules=_rules(job.plan.spec, held),
        answer="refused" if reasons else "allowed",
        reasons=reasons,
        by=desk.who,
    )
    if not _stands(decision, job, desk):
        desk.store.decide(decision)
    if reasons:
        raise RefusedError(
            f"{job.id}: {MAY_NOT.get(act, 'the data may not go to')} {provider}", reasons=reasons, fix=fix
        )


def permit_telling(job: Job, whom: str, *, desk: Desk) -> None:
    """Decide whether somebody beyond this machine may be told a job's figures, and write it down; raise as `permit`."""
    held = desk.policy.and_also(job.policy)
    reasons = policy.told(whom, job.plan.spec, held)
    desk.store.decide(
        Decision(
            at=desk.clock.now(),
            job_id=job.id,
            act="draw",
            provider=whom,
            place="unknown",
            rules=_rules(job.plan.spec, held),
            answer="refused" if reasons else "allowed",
            reasons=reasons,
            by=desk.who,
        )
    )
    if reasons:
        raise RefusedError(f"{whom} may not be told of {job.id}", reasons=reasons)


def _stands(decision: Decision, job: Job, desk: Desk) -> bool:
    """Tell whether the job's last decision is this one and its record has not changed since.

    Only of a submit does the record say whether something was sent.
    """
    if decision.act != "submit":
        return False
    link = desk.store.last_decision(job.id)
    last = link.told if link is not None and link.holds else None
    return last is not None and last.at > job.updated_at and last.model_copy(update={"at": decision.at}) == decision


def _place(capabilities: Capabilities) -> str:
    if capabilities.local:
        return "this machine"
    return ", ".join(capabilities.regions or ()) or "unknown"


def _data(data: DataReport) -> list[Datum]:
    files = [report.file for report in data.files if report.file is not None]
    return [Datum(role=f.role, sha256=f.sha256, bytes=f.bytes, examples=f.examples) for f in files]


def _rules(spec: TuneSpec, held: Policy) -> dict[str, str]:
    """Name what held, and leave out what forbids nothing."""
    found = {
        "data.residency": spec.data.residency,
        "data.privacy.block": ", ".join(spec.data.privacy.block),
        "policy.residency": held.residency,
        "policy.privacy.block": ", ".join(held.privacy.block),
        "integrations": ", ".join(told.type for told in spec.integrations),
        "policy.providers": "" if held.providers is None else ", ".join(held.providers) or "none",
    }
    return {name: value for name, value in found.items() if value not in ("", "any")}
