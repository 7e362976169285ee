"""What Fireworks' answers mean: names, jobs, datasets and addresses, read from raw JSON.

The service is a gateway of Google's kind: resources have names (accounts/…/dpoJobs/…), faults have a numeric `code`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from anytune.errors import MalformedAnswerError, RateLimitedError, RejectedError, UsageError
from anytune.providers.edge import among
from anytune.providers.fireworks.request import resource_id, short_model
from anytune.schema.job import Cause, Event, JobState, RemoteJob

NAME = "fireworks"
PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
JOB_NAME = re.compile(f"accounts/({PART})/(supervisedFineTuningJobs|dpoJobs)/({PART})")
DATASET_NAME = re.compile(f"accounts/({PART})/datasets/({PART})")
MODEL_NAME = re.compile(f"accounts/({PART})/models/({PART})")

PREFIX = "JOB_STATE_"
STATES = {
    "UNSPECIFIED": JobState.UNKNOWN,
    "CREATING": JobState.QUEUED,
    "CREATING_INPUT_DATASET": JobState.VALIDATING,
    "VALIDATING": JobState.VALIDATING,
    "PENDING": JobState.QUEUED,
    "RE_QUEUEING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "IDLE": JobState.PAUSED,  # of trainers that wait for work; not seen on the jobs made here
    "PAUSED": JobState.PAUSED,  # the account is suspended, or somebody stepped in
    "WRITING_RESULTS": JobState.FINALIZING,
    "COMPLETED": JobState.SUCCEEDED,
    "EARLY_STOPPED": JobState.SUCCEEDED,  # no gain any more; not asked for here, the model is the best until then
    "FAILED": JobState.FAILED,
    "EXPIRED": JobState.FAILED,
    "CANCELLING": JobState.CANCELLING,
    "CANCELLED": JobState.CANCELLED,
    "DELETING": JobState.CANCELLING,
    "DELETING_CLEANING_UP": JobState.CANCELLING,
    "DELETED": JobState.CANCELLED,  # this and the next are in newer descriptions than the SDK's of November 2026
    "ARCHIVED": JobState.CANCELLED,  # what the gateway says of a deleted job whose row is kept
}
USERS_FAULTS = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND", "PERMISSION_DENIED"}
BAD_ENDS = {JobState.FAILED, JobState.CANCELLED}

NOT_FOUND, FAILED_PRECONDITION = (5, "NOT_FOUND"), (9, "FAILED_PRECONDITION")
PLAINTEXT = {None, "", "ENCRYPTION_STATE_UNSPECIFIED", "ENCRYPTION_STATE_PLAINTEXT"}
CHECK_AGAIN = 2.0  # seconds
NANO = 10**9


def job_of(answer: Mapping[str, Any], *, act: str, expected: str | None = None) -> RemoteJob:
    """Read a job; raise `MalformedAnswerError` when it has no name or is not the one `expected`.

    The estimate of the cost that a job carries is taken for its cost once it has ended well: no bill comes with it.
    """
    found = JOB_NAME.fullmatch(_text(answer.get("name")) or "")
    if found is None:
        raise MalformedAnswerError(f"{NAME}: {act}: the answer has no name of a job")
    if expected is not None and found[0] != expected:
        raise MalformedAnswerError(f"{NAME}: {act}: asked for {expected}, the answer is about another job")
    word = _word(answer.get("state"))
    state = STATES.get(word.removeprefix(PREFIX), JobState.UNKNOWN)
    return RemoteJob(
        id=found[0],
        status=word,
        state=state,
        base=_base(answer),
        model=_model(answer, account=found[1], job=found[3]) if state is JobState.SUCCEEDED else None,
        error=_reason(answer, word) if state in BAD_ENDS else None,
        cause=_cause(answer) if state is JobState.FAILED else None,
        created_at=_moment(answer.get("createTime")),
        finished_at=_moment(answer.get("completedTime")) if state.is_terminal else None,
        cost=_dollars(answer.get("estimatedCost")) if state is JobState.SUCCEEDED else None,
        training_file=_text(answer.get("dataset")),
        seen_job_id=_our_id(answer.get("displayName"), made=found[3]),
        mark=_progress(answer.get("jobProgress")),
    )


def _progress(told: object) -> str:
    """Return how far a job is: while it runs, nothing else in the answer tells whether it goes on."""
    return f"{told.get('epoch')} {told.get('percent')}" if isinstance(told, Mapping) else ""


def _word(state: object) -> str:
    return state if isinstance(state, str) else json.dumps(state)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _our_id(shown: object, *, made: str) -> str | None:
    """Return our job id from the display name, if it is the one that the job's own id was made of."""
    try:
        return shown if isinstance(shown, str) and resource_id(shown) == made else None
    except UsageError:
        return None


def _model(answer: Mapping[str, Any], *, account: str, job: str) -> str:
    """Return the whole name of the tuned model; one that is not told is named after the job."""
    config = answer.get("trainingConfig")
    told = _text(answer.get("outputModel")) or (
        _text(config.get("outputModel")) if isinstance(config, Mapping) else None
    )
    model = told or job
    return model if "/" in model else f"accounts/{account}/models/{model}"


def _base(answer: Mapping[str, Any]) -> str | None:
    """Return the model that is tuned by the name that the catalogue has for it; a dpo job has it one level deeper."""
    config = answer.get("trainingConfig")
    told = _text(answer.get("baseModel")) or (_text(config.get("baseModel")) if isinstance(config, Mapping) else None)
    return short_model(told) if told else None


def _status(answer: Mapping[str, Any]) -> tuple[str, str]:
    status = answer.get("status")
    told = status if isinstance(status, Mapping) else {}
    return str(told.get("code") or "OK"), " ".join(str(told.get("message") or "").split())


def _reason(answer: Mapping[str, Any], word: str) -> str | None:
    code, message = _status(answer)
    if message:
        return f"{message} ({code})"
    return None if word == f"{PREFIX}CANCELLED" else f"the job ended as {word}"


def _cause(answer: Mapping[str, Any]) -> Cause:
    return "user" if _status(answer)[0] in USERS_FAULTS else "provider"


def _dollars(money: object) -> Decimal | None:
    """Read google.type.Money: whole units as a string of digits, nano units beside them."""
    if not isinstance(money, Mapping) or money.get("currencyCode", "USD") != "USD":
        return None
    units, nanos = str(money.get("units") or 0), money.get("nanos") or 0
    if not units.isdecimal() or not isinstance(nanos, int) or nanos < 0:
        return None
    return Decimal(int(units) * NANO + nanos) / NANO


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def events_of(answer: Mapping[str, Any], *, act: str) -> list[Event]:
    """Tell of a job's beginning and end, the two things that it dates; there is no list of events to ask for."""
    job = job_of(answer, act=act)
    events = []
    if job.created_at is not None:
        events.append(Event(id=f"{job.id}#created", at=job.created_at, message="the job was created"))
    if job.finished_at is not None:
        level: Literal["info", "error"] = "error" if job.state is JobState.FAILED else "info"
        said = job.error or f"the job ended as {job.status}"
        at = max(job.finished_at, job.created_at or job.finished_at)
        events.append(Event(id=f"{job.id}#ended", at=at, level=level, message=said))
    return events


def is_code(body: Mapping[str, Any], code: tuple[int, str]) -> bool:
    """Tell whether a refusal is of this kind by the gateway's own word, not by the HTTP status alone."""
    return body.get("code") in code


def require_plain(answer: Mapping[str, Any], *, act: str) -> None:
    """Raise `RejectedError` for a dataset that wants to be encrypted on this side: plain bytes must not go there."""
    if not among(wanted := answer.get("encryptionState"), PLAINTEXT):
        raise RejectedError(
            f"{NAME}: {act}: the dataset wants to be encrypted before it is sent ({wanted}), which is not done here",
            fix="upload it with the vendor's own tool",
        )


def require_ready(answer: Mapping[str, Any], *, act: str) -> None:
    """Raise `RejectedError` with the service's word for a faulty dataset, `RateLimitedError` for one not ready yet."""
    if answer.get("state") == "READY":
        return
    name = answer.get("name") or "the dataset"
    code, message = _status(answer)
    if code not in {"OK", *FAILED_PRECONDITION}:
        raise RejectedError(f"{NAME}: {act}: the service cannot use {name}: {message or code}", fix="mend the file")
    raise RateLimitedError(f"{NAME}: {act}: {name} is not ready yet", retry_after=CHECK_AGAIN, status=None)


def signed_urls(answer: Mapping[str, Any], *, act: str) -> dict[str, str]:
    """Return the signed address of each file; raise `MalformedAnswerError` when there is none."""
    told = answer.get("filenameToSignedUrls")
    if not isinstance(told, Mapping) or not told or not all(isinstance(url, str) and url for url in told.values()):
        raise MalformedAnswerError(f"{NAME}: {act}: the answer names no addresses")
    return {str(name): url for name, url in told.items()}
