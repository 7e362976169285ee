"""What Replicate's answers mean: trainings, their logs, files, and the inputs that a version takes.

Fields are those of the vendor's client replicate-python (its training.py, as public copies had it on 2026-11-27; which
version that is was not seen) and of the description of its HTTP API: id, version, status, input, output, logs, error,
created_at, started_at, completed_at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from anytune.errors import MalformedAnswerError, NotFoundError, RejectedError
from anytune.providers.replicate.gateway import NAME
from anytune.schema.job import Event, JobState, RemoteJob

ID = re.compile("[A-Za-z0-9]{1,64}")

# The words are those of the vendor's description of trainings; `aborted` is told of predictions alone, which are the
# same thing there: "exceeded its deadline before it could start running".
STATES = {
    "starting": JobState.QUEUED,
    "processing": JobState.RUNNING,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "canceled": JobState.CANCELLED,
    "aborted": JobState.FAILED,
}
ABORTED = "it was aborted before it could start"
DRIFT = timedelta(hours=1)
MOST_LETTERS = 1000  # of a line of the log

# As replicate/cog-llama-template prints it: "step 7 is completed and loss is 1.25".
LOSS = re.compile(r"step (\d+) is completed and loss is (\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def job_of(answer: Mapping[str, Any], *, act: str, expected: str | None = None) -> RemoteJob:
    """Read a training; raise `MalformedAnswerError` when it has no id or is not the one `expected`.

    No cost is told: `predict_time` is in seconds of a hardware whose price is not in the answer.
    """
    id = answer.get("id")
    if not isinstance(id, str) or ID.fullmatch(id) is None:
        raise MalformedAnswerError(f"{NAME}: {act}: the answer has no id of a training")
    if expected is not None and id != expected:
        raise MalformedAnswerError(f"{NAME}: {act}: asked for {expected}, the answer is about another training")
    status = answer.get("status")
    word = status if isinstance(status, str) else json.dumps(status)
    state = STATES.get(word, JobState.UNKNOWN)
    return RemoteJob(
        id=id,
        status=word,
        state=state,
        model=tuned_name(answer) if state is JobState.SUCCEEDED else None,
        error=_reason(answer, word) if state is JobState.FAILED else None,
        cause="provider" if state is JobState.FAILED and word == "aborted" else None,
        created_at=_moment(answer.get("created_at")),
        finished_at=_moment(answer.get("completed_at")) if state.is_terminal else None,
    )


def tuned_name(answer: Mapping[str, Any]) -> str | None:
    """Return the version that a training made, as owner/name:version."""
    return _output(answer, "version")


def weights(answer: Mapping[str, Any]) -> str | None:
    """Return the address of the weights that a training made."""
    return _output(answer, "weights")


def _output(answer: Mapping[str, Any], name: str) -> str | None:
    output = answer.get("output")
    value = output.get(name) if isinstance(output, Mapping) else None
    return value if isinstance(value, str) and value else None


def _reason(answer: Mapping[str, Any], word: str) -> str:
    error = answer.get("error")
    told = " ".join(error.split()) if isinstance(error, str) else ""
    return told or (ABORTED if word == "aborted" else f"the training ended as {word}")


def _moment(value: object) -> datetime | None:
    try:
        # Nanoseconds are told there, and microseconds are kept here.
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value)) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def events_of(answer: Mapping[str, Any], *, act: str) -> list[Event]:
    """Tell of a training's beginning, each line of its log, and its end.

    The log is one text that grows and has no times: a line is named by its number, and bears the time of the start.
    The last line counts once it is whole.
    """
    job = job_of(answer, act=act)
    if job.created_at is None:
        return []
    begun = max(_moment(answer.get("started_at")) or job.created_at, job.created_at)
    events = [Event(id=f"{job.id}#created", at=job.created_at, message="the training was created")]
    for number, line in _lines(answer.get("logs"), whole=job.state.is_terminal):
        events.append(Event(id=f"{job.id}#log-{number}", at=begun, message=line, data=_figures(line)))
    if job.state.is_terminal:
        level: Literal["info", "error"] = "error" if job.state is JobState.FAILED else "info"
        said = job.error or f"the training ended as {job.status}"
        at = max(job.finished_at or begun, begun)
        events.append(Event(id=f"{job.id}#ended", at=at, level=level, message=said, data=_times(answer)))
    return events


def _lines(logs: object, *, whole: bool) -> Iterator[tuple[int, str]]:
    """Number the lines of a log; of one that a progress bar drew again and again, the last state counts."""
    lines = (logs if isinstance(logs, str) else "").split("\n")
    for number, line in enumerate(lines if whole else lines[:-1]):
        last = line.rstrip("\r").rpartition("\r")[2].strip()
        if last:
            yield number, last[:MOST_LETTERS]


def _figures(line: str) -> dict[str, Any]:
    """Read the figures of a line that is a JSON object, or that says a step's loss."""
    found = LOSS.search(line)
    if found is not None:
        return {"step": int(found[1]), "loss": float(found[2])}
    if not line.startswith("{"):
        return {}
    try:
        told = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    plain = ((str(name), value) for name, value in told.items())
    return {name: value for name, value in plain if isinstance(value, int | float) and not isinstance(value, bool)}


def _times(answer: Mapping[str, Any]) -> dict[str, Any]:
    metrics = answer.get("metrics")
    seconds = metrics.get("predict_time") if isinstance(metrics, Mapping) else None
    return {"seconds": seconds} if isinstance(seconds, int | float) and not isinstance(seconds, bool) else {}


def shows(answer: Mapping[str, Any], address: str) -> bool:
    """Tell whether a training was given this file: its input is shown as it was sent, or with a signature added."""
    given, mark = answer.get("input"), f"/files/{address.rpartition('/')[2]}"
    values = given.values() if isinstance(given, Mapping) else ()
    return any(isinstance(value, str) and (value == address or mark in value) for value in values)


def require_inputs(version: Mapping[str, Any], given: Mapping[str, Any], *, act: str) -> None:
    """Raise `RejectedError` when a version does not take these inputs, or wants others.

    Its schema is the OpenAPI description that Cog makes of the trainer, where they stand as `TrainingInput`.
    """
    schema: Any = version
    for key in ("openapi_schema", "components", "schemas", "TrainingInput"):
        schema = schema.get(key) if isinstance(schema, Mapping) else None
    known = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(known, Mapping):
        raise RejectedError(f"{NAME}: {act}: this version does not say that it can be trained", fix="name another")
    if strange := [name for name in given if name not in known]:
        has = ", ".join(sorted(map(str, known)))
        raise RejectedError(
            f"{NAME}: {act}: this version has no input {', '.join(strange)}; it has {has}",
            fix="name the right ones in profiles.replicate.trainers",
            param=strange[0],
        )
    wanted = schema.get("required")
    if lacking := [str(name) for name in (wanted if isinstance(wanted, list) else []) if name not in given]:
        raise RejectedError(
            f"{NAME}: {act}: this version wants {', '.join(lacking)}, too",
            fix="give it as input in profiles.replicate.trainers",
            param=lacking[0],
        )


def address_of(file: Mapping[str, Any], *, act: str) -> str:
    """Return the address by which a file is given to a trainer; raise `MalformedAnswerError` when there is none."""
    urls = file.get("urls")
    told = urls.get("get") if isinstance(urls, Mapping) else None
    if not isinstance(told, str) or ID.fullmatch(told.rpartition("/")[2]) is None:
        raise MalformedAnswerError(f"{NAME}: {act}: the answer names no address of the file")
    return told


def file_id(address: str) -> str:
    """Return the id of an uploaded file; raise `NotFoundError` for an address that is none of the service's making."""
    id = address.rpartition("/files/")[2]
    if ID.fullmatch(id) is None:
        raise NotFoundError(f"{NAME} knows no {address!r}: this is no file of its making")
    return id


def sha256_of(file: Mapping[str, Any]) -> str | None:
    """Return the hash that the service has of a file, if it tells one."""
    checksums = file.get("checksums")
    told = checksums.get("sha256") if isinstance(checksums, Mapping) else None
    return told if isinstance(told, str) else None


def is_older(row: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Tell whether one thing was surely made before another, whichever of the service's clocks dated them."""
    one, other = _moment(row.get("created_at")), _moment(than.get("created_at"))
    return one is not None and other is not None and other - one > DRIFT


def was_made_before(row: Mapping[str, Any], since: datetime | None) -> bool:
    """Tell whether a training was surely made before that moment, whichever of the service's clocks dated it."""
    made = _moment(row.get("created_at"))
    return since is not None and made is not None and since - made > DRIFT


def lives_on(file: Mapping[str, Any], *, now: datetime) -> bool:
    """Tell whether a file has more than half of its life before it: a training may wait before it reads it."""
    begin, end = _moment(file.get("created_at")), _moment(file.get("expires_at"))
    return begin is not None and end is not None and end - now > (end - begin) / 2
