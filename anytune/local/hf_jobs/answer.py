"""What the Hub's answers mean: a job's attempts, the result that our trainer left, its events.

Stages and fields are those of huggingface_hub 2.4.0, the newest on 2026-11-27.
A job of ours is one or more of theirs: the one that `create` started, and one more for each resume. All carry our job
id as a label; the first one's id is the job's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from anytune import catalog
from anytune.errors import MalformedAnswerError, NotFoundError
from anytune.local.elsewhere.result import ending
from anytune.local.hf_jobs.gateway import REPOSITORY
from anytune.local.hf_jobs.request import LABEL, NAME, label
from anytune.providers.edge import required_id
from anytune.schema.job import Cause, JobState, RemoteJob

STATES = {
    "SCHEDULING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "COMPLETED": JobState.SUCCEEDED,
    "CANCELED": JobState.CANCELLED,
    "ERROR": JobState.FAILED,
    "DELETED": JobState.CANCELLED,
}
ENDED = {"COMPLETED", "CANCELED", "ERROR", "DELETED"}
PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
REMOTE_ID = re.compile(f"({PART})/({PART})/({PART})")
CENT_OF_A_CENT = Decimal("0.0001")


class Name(NamedTuple):
    """Be a job's id taken apart: whose it is, the Hub's id of its first attempt, and ours."""

    namespace: str
    first: str
    job_id: str

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def repository(self) -> str:
        """Return where its files lie."""
        return f"{self.namespace}/{REPOSITORY}"

    @property
    def folder(self) -> str:
        """Return its folder there."""
        return f"jobs/{self.job_id}"

    @property
    def model(self) -> str:
        """Return the address of its tuned model."""
        return f"hf://datasets/{self.repository}/{self.folder}/model"


def parsed(remote_id: str) -> Name:
    """Take a job's id apart; raise `NotFoundError` for one that is not of our making."""
    found = REMOTE_ID.fullmatch(remote_id)
    if found is None:
        raise NotFoundError(f"{NAME} knows no {remote_id!r}: this is no id of its making")
    return Name(*found.groups())


def named(info: Any, *, namespace: str, job_id: str, act: str) -> Name:
    """Return what a job that the Hub has just told of is called here."""
    return Name(namespace, required_id(info.id, provider=NAME, act=act), job_id)


def our_label(info: Any) -> object:
    """Return the label that a job of ours carries."""
    return info.labels.get(LABEL) if isinstance(info.labels, dict) else None


def require(info: Any, name: Name, *, act: str) -> None:
    """Raise `MalformedAnswerError` when an answer is about another job than the one asked for."""
    if info.id != name.first or our_label(info) not in (None, label(name.job_id)):
        raise MalformedAnswerError(f"{NAME}: {act}: asked for {name.first}, the answer is about another job")


def attempts(infos: Sequence[Any], job_id: str) -> list[Any]:
    """Return the jobs at the Hub that carry our id, the oldest first."""
    ours = [info for info in infos if our_label(info) == label(job_id)]
    return sorted(ours, key=lambda info: info.created_at or datetime.min.replace(tzinfo=UTC))


def has_ended(info: Any) -> bool:
    """Tell whether the Hub says that a job runs no more."""
    return word(info) in ENDED


def word(info: Any) -> str:
    """Return the Hub's own word for how a job stands."""
    stage = info.status.stage
    return stage if isinstance(stage, str) else json.dumps(stage)


def job_of(
    name: Name, told: Sequence[Any], *, result: dict[str, Any] | None = None, saved: int | None = None
) -> RemoteJob:
    """Put together how a job stands from its attempts, the result if it left one, and the last step that was saved.

    What the trainer itself wrote down counts more than how its machine ended: with the whole model there a job has
    succeeded, even where it was stopped a moment later.
    """
    first, last = told[0], told[-1]
    state = STATES.get(word(last), JobState.UNKNOWN)
    error: str | None = None
    cause: Cause | None = None
    if has_ended(last):
        state, error, cause = _ending(last, state, result, saved)
    done = result if result is not None and state.is_terminal else {}
    tokens = done.get("trained_tokens")
    return RemoteJob(
        id=str(name),
        status=word(last),
        state=state,
        model=name.model if state is JobState.SUCCEEDED else None,
        error=error,
        cause=cause,
        created_at=first.created_at,
        finished_at=last.finished_at if state.is_terminal else None,
        trained_tokens=tokens if isinstance(tokens, int) else None,
        cost=_cost(told) if state.is_terminal or state is JobState.PAUSED else None,
        training_file=None,
        seen_job_id=name.job_id if our_label(last) == label(name.job_id) else None,
    )


def _ending(
    info: Any, state: JobState, result: dict[str, Any] | None, saved: int | None
) -> tuple[JobState, str | None, Cause | None]:
    """Say how a job ended whose machine is gone."""
    if (known := ending(result)) is not None:
        return known
    if state is JobState.CANCELLED:
        return state, None, None
    why = " ".join(str(info.status.message or "").split()) or f"the job ended as {word(info)}"
    if saved is not None:
        return JobState.PAUSED, f"{why}; resume goes on from step {saved}", None
    return JobState.FAILED, f"{why} and left no result: {info.url}", "provider"


def _cost(told: Sequence[Any]) -> Decimal | None:
    """Price the minutes of all attempts by the catalogue; None where a machine or its time is not known."""
    prices, total = catalog.load(NAME).flavors, Decimal(0)
    for info in told:
        per_hour = prices.get(str(info.flavor))
        seconds = info.durations.running_secs if info.durations is not None else None
        if per_hour is None or not isinstance(seconds, int) or seconds < 0:
            return None
        total += per_hour * -(-seconds // 60) / 60
    return total.quantize(CENT_OF_A_CENT)


def price_of(machines: Sequence[Any], flavor: str, seconds: int) -> Decimal | None:
    """Price so many seconds of a machine by the Hub's list; None where it is not in it, or not billed by the minute."""
    for machine in machines:
        if machine.name == flavor and machine.unit_label == "minute":
            price = Decimal(int(machine.unit_cost_micro_usd)) * -(-seconds // 60) / 1_000_000
            return price.quantize(Decimal("0.01"))  # a minute's price is rounded: $1.00 an hour is told as 0.016667
    return None
