"""What Ray's answers mean: a job's attempts, the result that our trainer left, its events.

Words and fields are those of the Jobs interface of Ray 2.60. A job of ours is one or more of theirs: the one that
`create` started, whose submission id is our job id, and one more for each resume. All carry our id as metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from anytune.errors import MalformedAnswerError
from anytune.local.elsewhere.result import ending, newest_step
from anytune.local.ray_jobs.request import AGAIN, MARK, NAME
from anytune.schema.job import Cause, Event, JobState, RemoteJob

STATES = {
    "PENDING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "STOPPED": JobState.CANCELLED,
    "SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
}
ENDED = {"STOPPED", "SUCCEEDED", "FAILED"}
FORGOTTEN = "FORGOTTEN"  # not Ray's word: its head was started anew, and it knows nothing of a job that left files
CENT_OF_A_CENT = Decimal("0.0001")


def word(told: dict[str, Any]) -> str:
    """Return Ray's own word for how a job stands."""
    status = told.get("status")
    if not isinstance(status, str) or not status:
        raise MalformedAnswerError(f"{NAME}: the answer about a job has no status")
    return status


def has_ended(told: dict[str, Any]) -> bool:
    """Tell whether a job runs no more."""
    return word(told) in ENDED


def our_id(told: dict[str, Any]) -> str | None:
    """Return the job id of ours that a job carries, None for somebody else's."""
    marks = told.get("metadata")
    found = marks.get(MARK) if isinstance(marks, dict) else None
    return found if isinstance(found, str) else None


def attempts(rows: Sequence[dict[str, Any]], job_id: str) -> list[dict[str, Any]]:
    """Return the jobs there that carry our id, the oldest first."""
    ours = [row for row in rows if our_id(row) == job_id and number(row) > 0]
    return sorted(ours, key=number)


def number(told: dict[str, Any]) -> int:
    """Return which attempt a job is, from 1; 0 for what is none."""
    submission = told.get("submission_id")
    first, mark, rest = str(submission or "").rpartition(AGAIN)
    if not mark:
        return 1 if rest == our_id(told) else 0
    return int(rest) if rest.isdecimal() and first == our_id(told) else 0


def job_of(
    job_id: str,
    told: Sequence[dict[str, Any]],
    *,
    model: str,
    result: dict[str, Any] | None = None,
    left: Sequence[str] = (),
    per_hour: Decimal | None = None,
) -> RemoteJob:
    """Put together how a job stands from its attempts, the result if it left one, and the names of its files."""
    last = told[-1]
    state, error, cause = STATES.get(word(last), JobState.UNKNOWN), None, None
    if has_ended(last):
        state, error, cause = _ending(last, state, result, newest_step(left))
    done = result if result is not None and state.is_terminal else {}
    return RemoteJob(
        id=job_id,
        status=word(last),
        state=state,
        model=model if state is JobState.SUCCEEDED else None,
        error=error,
        cause=cause,
        created_at=_moment(told[0].get("start_time")),
        finished_at=_moment(last.get("end_time")) if state.is_terminal else None,
        trained_tokens=tokens if isinstance(tokens := done.get("trained_tokens"), int) else None,
        cost=_cost(told, per_hour) if state.is_terminal or state is JobState.PAUSED else None,
        seen_job_id=our_id(last),
    )


def forgotten(job_id: str, *, model: str, result: dict[str, Any] | None, left: Sequence[str]) -> RemoteJob:
    """Say how a job stands of which the cluster knows nothing any more, by the files that it left."""
    state, error, cause = ending(result) or (
        JobState.PAUSED,
        f"the cluster knows this job no more; resume goes on from step {newest_step(left) or 0}",
        None,
    )
    return RemoteJob(
        id=job_id,
        status=FORGOTTEN,
        state=state,
        model=model if state is JobState.SUCCEEDED else None,
        error=error,
        cause=cause,
        seen_job_id=job_id,
    )


def _ending(
    told: dict[str, Any], state: JobState, result: dict[str, Any] | None, saved: int | None
) -> tuple[JobState, str | None, Cause | None]:
    """Say how a job ended; what the trainer itself wrote down counts more than how its process did."""
    if (known := ending(result)) is not None:
        return known
    if state is JobState.CANCELLED:
        return state, None, None
    why = said(told) or f"the job ended as {word(told)}"
    if saved is not None:
        return JobState.PAUSED, f"{why}; resume goes on from step {saved}", None
    return JobState.FAILED, f"{why} and left no result", "provider"


def said(told: dict[str, Any]) -> str:
    """Return the last line that Ray has of a job: its message ends with the log's last lines."""
    lines = [" ".join(line.split()) for line in str(told.get("message") or "").splitlines()]
    return next((line[:300] for line in reversed(lines) if line), "")


def _moment(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if isinstance(milliseconds, int) else None


def _cost(told: Sequence[dict[str, Any]], per_hour: Decimal | None) -> Decimal | None:
    """Price the time of all attempts; None where the price or a time is not known."""
    if per_hour is None:
        return None
    total = Decimal(0)
    for each in told:
        start, end = each.get("start_time"), each.get("end_time")
        if not isinstance(start, int) or not isinstance(end, int):
            return None
        total += per_hour * Decimal(max(0, end - start)) / 3_600_000
    return total.quantize(CENT_OF_A_CENT)


def logged(told: dict[str, Any], logs: str) -> list[Event]:
    """Return the lines of a log as events: of a job that ended before our trainer could tell of itself."""
    at = _moment(told.get("end_time")) or _moment(told.get("start_time")) or datetime.fromtimestamp(0, UTC)
    lines = [line.rstrip() for line in logs.splitlines() if line.strip()]
    return [
        Event(id=f"log-{told.get('submission_id')}-{n:06d}", at=at, level="info", message=line[:1000], data={})
        for n, line in enumerate(lines, 1)
    ]
