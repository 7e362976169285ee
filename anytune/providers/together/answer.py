"""What Together's answers mean: files, jobs, events and prices, read from raw JSON.

The vendor's SDK reads one job by two classes that differ in their fields, and lets any answer pass as a job.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from anytune.errors import MalformedAnswerError, RateLimitedError, RejectedError
from anytune.providers.edge import among, required_id
from anytune.providers.together.request import job_id_in
from anytune.schema.job import Cause, Event, JobState, RemoteJob

STATES = {
    "pending": JobState.QUEUED,
    "queued": JobState.QUEUED,
    "running": JobState.RUNNING,
    "compressing": JobState.FINALIZING,
    "uploading": JobState.FINALIZING,
    "completed": JobState.SUCCEEDED,
    "cancel_requested": JobState.CANCELLING,
    "cancelled": JobState.CANCELLED,
    "error": JobState.FAILED,
    "user_error": JobState.FAILED,  # stands in the SDK's hand-written table only, not in the published one
}
CAUSES: dict[str, Cause] = {"error": "provider", "user_error": "user"}
BAD_ENDS = {JobState.FAILED, JobState.CANCELLED}
MODEL_FIELDS = ("model_output_name", "x_model_output_name", "output_name")

NOT_CHECKED_YET = {"PENDING", "QUEUED", "RUNNING"}
FAULTY = {"INVALID_FORMAT", "FAILED"}
CHECK_AGAIN = 2.0  # seconds
REPORTED_LINE = re.compile(r"\b(?:(?:on|at|in) )?line (\d+)\b", re.IGNORECASE)

FIGURES = (
    "type",
    "step",
    "total_steps",
    "token_count",
    "param_count",
    "checkpoint_path",
    "early_stopping_best_step",
    "early_stopping_best_metric_value",
)
NANO_DOLLARS = 10**9
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


def safe_id(value: object, *, act: str) -> str:
    """Return an id that may stand in a path; raise `MalformedAnswerError` for any other."""
    found = required_id(value, provider="together", act=act)
    if SAFE_ID.fullmatch(found) is None:
        raise MalformedAnswerError(f"together: {act}: the id in the answer is no id")
    return found


def refuse_faulty(answer: Mapping[str, Any], *, act: str, name: str | None = None) -> None:
    """Raise `RejectedError`, with the server's own report, for a file that failed its checks.

    The line that the report names stands after the file's name: `name` on this machine, else as it was uploaded.
    """
    if among(answer.get("processing_status"), FAULTY):
        report = answer.get("validation_report")
        said = report.get("error") if isinstance(report, Mapping) else None
        where, what = _place(str(said or answer["processing_status"]))
        raise RejectedError(
            f"together: {act}: {name or answer.get('filename') or answer.get('id')}:{where} {what}",
            fix="mend the file: its bytes are remembered as faulty, the same ones will be refused again",
        )


def _place(said: str) -> tuple[str, str]:
    """Take the line out of a report: `17:` and the rest, or nothing and the whole."""
    flat = " ".join(said.split())
    found = REPORTED_LINE.search(flat)
    if found is None:
        return "", f"the service cannot use it: {flat}"
    rest = f"{flat[: found.start()]} {flat[found.end() :]}".strip(" :,.-")
    return f"{found[1]}:", rest or "the service cannot use it"


def require_checked(answer: Mapping[str, Any], *, act: str) -> None:
    """Raise `RejectedError` for a faulty file, `RateLimitedError` for one whose checks are not over.

    A file without a status, or with an unheard-of one, passes: not every file is checked by the service.
    """
    refuse_faulty(answer, act=act)
    if among(answer.get("processing_status"), NOT_CHECKED_YET):
        name = answer.get("filename") or answer.get("id")
        raise RateLimitedError(f"together: {act}: {name} is not validated yet", retry_after=CHECK_AGAIN, status=None)


def job_of(answer: Mapping[str, Any], *, act: str, expected: str | None = None) -> RemoteJob:
    """Read a job; raise `MalformedAnswerError` when it has no id or is not the one `expected`.

    `total_price` is in nano-dollars (the SDK's list command divides by 10^9). A completed job whose model has
    no name yet is still at work. The answer about one job carries its events (the CLI of SDK 3.1 counts them), one in
    a list an empty list. With events a new time of the job is no news: it is dated anew as it goes on.
    """
    job_id = safe_id(answer.get("id"), act=act)
    if expected is not None and job_id != expected:
        raise MalformedAnswerError(f"together: {act}: asked for {expected}, the answer is about another job")
    status = _word(answer.get("status"))
    model = next((answer[f] for f in MODEL_FIELDS if isinstance(answer.get(f), str) and answer[f]), None)
    state, told = STATES.get(status, JobState.UNKNOWN), rows(answer, "events")
    if state is JobState.SUCCEEDED and model is None:
        state = JobState.FINALIZING
    return RemoteJob(
        id=job_id,
        status=status,
        state=state,
        base=base if isinstance(base := answer.get("model"), str) else None,
        model=model if state is JobState.SUCCEEDED else None,
        error=_reason(answer, status) if state in BAD_ENDS else None,
        cause=_cause(answer, status),
        created_at=moment(answer.get("created_at")),
        finished_at=moment(answer.get("updated_at")) if state.is_terminal else None,
        trained_tokens=_count(answer.get("token_count")) or None,  # 0 until they are counted
        cost=_dollars(answer.get("total_price"), state),
        training_file=file if isinstance(file := answer.get("training_file"), str) else None,
        seen_job_id=job_id_in(answer.get("suffix")),
        told=tuple(events_of(told)) if told else None,
        mark=f"{answer.get('steps_completed')}" if told else f"{answer.get('updated_at')}",
    )


def _word(status: object) -> str:
    return status if isinstance(status, str) else json.dumps(status)


def rows(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list in an answer, none where there is no list."""
    found = answer.get(key)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def _cause(answer: Mapping[str, Any], status: str) -> Cause | None:
    # A job without credit ends as cancelled; only its events tell it from one that a person stopped.
    out_of_credit = any(_word(row.get("type")).lower() == "billing_limit" for row in rows(answer, "events"))
    return "billing" if status == "cancelled" and out_of_credit else CAUSES.get(status)


def _reason(answer: Mapping[str, Any], status: str) -> str | None:
    told = [str(row["message"]) for row in rows(answer, "events") if _level(row) == "error" and row.get("message")]
    return told[-1] if told else (None if status == "cancelled" else f"the job ended as {status}")


def _dollars(price: object, state: JobState) -> Decimal | None:
    nano = _count(price)
    return Decimal(nano) / NANO_DOLLARS if nano or (nano == 0 and state.is_terminal) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def moment(value: object) -> datetime | None:
    """Read a time in ISO 8601, in UTC where it names no zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def listed(answer: Mapping[str, Any], *, act: str) -> list[Mapping[str, Any]]:
    """Return the objects of a list; raise `MalformedAnswerError` for an answer that is no list."""
    if not isinstance(answer.get("data"), list):
        raise MalformedAnswerError(f"together: {act}: the answer is no list")
    return rows(answer, "data")


def events_of(rows: list[Mapping[str, Any]]) -> list[Event]:
    """Read events: each once, oldest first; one whose time cannot be read stands first."""
    return in_order({event.id: event for event in map(_event, rows)}.values())


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort events by time, those of one moment by step."""
    return sorted(events, key=lambda event: (event.at, _count(event.data.get("step")) or 0))


def _event(row: Mapping[str, Any]) -> Event:
    # The published description has no id; `hash` is what the server sends beside it.
    own = row.get("hash")
    told = json.dumps([row.get(key) for key in ("created_at", "type", "message", "step")])
    return Event(
        id=own if isinstance(own, str) and own else hashlib.sha256(told.encode()).hexdigest()[:32],
        at=moment(row.get("created_at")) or BEFORE_ALL,
        level=_level(row),
        message=str(row.get("message") or row.get("type") or ""),
        data={key: row[key] for key in FIGURES if row.get(key) is not None},
    )


def _level(row: Mapping[str, Any]) -> Any:
    word = _word(row.get("level")).lower()
    kind = _word(row.get("type")).lower()
    if "error" in word or kind in {"job_error", "job_user_error"}:
        return "error"
    return "warning" if "warning" in word or kind in {"warning", "billing_limit"} else "info"


def price_of(answer: Mapping[str, Any], *, act: str) -> Decimal | None:
    """Read a quote in US dollars; None when the service cannot tell one for such data.

    Raises `RateLimitedError` while a file is not validated, `RejectedError` when one is faulty.
    """
    if answer.get("estimation_available") is not True:
        reason = _word(answer.get("unavailable_reason"))
        if reason.endswith("_not_validated"):
            raise RateLimitedError(
                f"together: {act}: a file is not validated yet", retry_after=CHECK_AGAIN, status=None
            )
        if reason.endswith("_file_invalid"):
            raise RejectedError(f"together: {act}: the service cannot use a file ({reason})")
        return None
    price = answer.get("estimated_total_price")
    if not isinstance(price, int | float) or isinstance(price, bool):
        raise MalformedAnswerError(f"together: {act}: the quote names no price")
    return Decimal(str(price))
