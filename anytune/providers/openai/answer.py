"""What OpenAI's answers mean: jobs, events and lists, read and checked by hand.

The SDK checks nothing: openai 3.54 hands over an HTML page as a `str`, a missing id as None and any word as a
status. A healthy job has an `error` of `{}` or of nulls. An `answer` here is the SDK's raw response, `act` what was
done, with the provider's name before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from anytune.errors import MalformedAnswerError
from anytune.providers.edge import among
from anytune.providers.openai.request import TAG, carries, job_id_in
from anytune.schema.job import Cause, Event, JobState, RemoteJob

STATES = {
    "validating_files": JobState.VALIDATING,
    "queued": JobState.QUEUED,
    "pending": JobState.QUEUED,  # on older Azure
    "running": JobState.RUNNING,
    "paused": JobState.PAUSED,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}
BILLING = {"exceeded_quota", "insufficient_quota", "billing_hard_limit_reached"}
FILES = {"training_file", "validation_file"}
SUFFIXES = ("user_provided_suffix", "suffix")  # OpenAI's name of it in a job, and Nebius'
LEVELS: dict[str, Literal["info", "warning", "error"]] = {"warn": "warning", "error": "error"}
FIGURES = {"train_loss": "loss"}  # the provider's name to ours; all others keep theirs
EPOCH = datetime.fromtimestamp(0, UTC)
NAMED_WITHIN = timedelta(hours=1)  # for which a success may have no model: one without a checkpoint never gets any
LAST_TIME = 4_102_444_800  # the year 2100: what is later is no time in seconds


def remote_job(answer: Any, *, act: str, asked: str | None = None) -> RemoteJob:
    """Read a job; raise `MalformedAnswerError` when it is none, or another than `asked`."""
    job = job_of(decoded(answer, act=act), act=act)
    if asked is not None and job.id != asked:
        raise MalformedAnswerError(f"{act}: asked for {asked}, answered with {job.id}")
    return job


def job_of(job: Mapping[str, Any], *, act: str) -> RemoteJob:
    """Read a decoded job."""
    word, model = job.get("status"), _text(job.get("fine_tuned_model"))
    state = STATES.get(word, JobState.UNKNOWN) if isinstance(word, str) else JobState.UNKNOWN
    tokens = job.get("trained_tokens")
    return RemoteJob(
        id=id_of(job, act=act),
        status=word if isinstance(word, str) else f"({word})",
        # a success that cannot be used yet is not the end
        state=JobState.FINALIZING if state is JobState.SUCCEEDED and model is None else state,
        base=_text(job.get("model")),
        model=model,
        error=_reason(job.get("error")),
        cause=_cause(job.get("error")) if state is JobState.FAILED else None,
        created_at=moment(job.get("created_at")),
        finished_at=moment(job.get("finished_at")),
        trained_tokens=tokens if type(tokens) is int else None,
        training_file=_text(job.get("training_file")),
        seen_job_id=_job_id(job),
        settings=_settings(job),
    )


def nameless(job: RemoteJob, *, since: timedelta) -> RemoteJob:
    """End a job that succeeded so long ago and has no model yet, once none is to be expected any more."""
    if since < NAMED_WITHIN:
        return job
    error = "the provider calls the job a success, and has neither a model nor a checkpoint of it an hour later"
    return job.model_copy(update={"state": JobState.FAILED, "error": error, "cause": "provider"})


def _settings(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers that a job trains with; what is still `auto` is none."""
    method = job.get("method")
    within = method.get(str(method.get("type"))) if isinstance(method, Mapping) else None
    told = within.get("hyperparameters") if isinstance(within, Mapping) else job.get("hyperparameters")
    told = told if isinstance(told, Mapping) else {}
    # Azure was seen to write -1 for what is still auto
    return {name: value for name, value in told.items() if isinstance(value, int | float) and value >= 0}


def _job_id(job: Mapping[str, Any]) -> str | None:
    metadata = job.get("metadata")
    kept = _text(metadata.get(TAG)) if isinstance(metadata, Mapping) else None
    return kept or next(filter(None, map(job_id_in, _suffixes(job))), None)


def _suffixes(job: Mapping[str, Any]) -> list[Any]:
    return [job.get(name) for name in SUFFIXES]


def is_ours(job: Mapping[str, Any], job_id: str) -> bool:
    """Tell whether a decoded job carries our id: in its metadata, its suffix, or the name of its model.

    Where an id stands in the place that is made for it, only that one counts: the user's own part may name another job.
    """
    seen = _job_id(job)
    return carries(job_id, seen) if seen else carries(job_id, *_suffixes(job), job.get("fine_tuned_model"))


def event(told: Mapping[str, Any], *, act: str) -> Event:
    """Read a decoded event; `data` holds step, total_steps, loss, valid_loss where the provider gives them."""
    data = told.get("data")
    figures = data if isinstance(data, Mapping) else {}
    return Event(
        id=id_of(told, act=act),
        at=moment(told.get("created_at")) or EPOCH,
        level=LEVELS.get(str(told.get("level")), "info"),
        message=str(told.get("message") or ""),
        data=named(figures),
    )


def named(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's figures under our names, without those that are not there."""
    return {FIGURES.get(name, name): value for name, value in figures.items() if value is not None}


def content(answer: Any, *, act: str) -> str:
    """Read what a model said; a refusal to answer has no content and is an empty answer."""
    try:
        said = decoded(answer, act=act)["choices"][0]["message"].get("content")
    except (LookupError, TypeError, AttributeError):
        raise MalformedAnswerError(f"{act}: the answer has no message") from None
    return said if isinstance(said, str) else ""


def whole_list(ask: Callable[..., Any], *, act: str) -> list[dict[str, Any]]:
    """Walk all pages of a list (`ask(after=id)` fetches the next) and return its items once each, by id.

    A list that cannot be read must not look like an empty one, for an empty one means that there is no such job:
    raises `MalformedAnswerError` for what is no list, and for one that repeats itself.
    """
    return [item for page in pages(ask, act=act) for item in page]


def pages(ask: Callable[..., Any], *, act: str) -> Iterator[list[dict[str, Any]]]:
    """Yield what is new on each page of a list, page by page; see `whole_list`."""
    seen = set[str]()
    after: dict[str, str] = {}
    while True:
        page = decoded(ask(**after), act=act)
        listed = {id_of(item, act=act): item for item in _data(page, act=act)}
        more, known = page.get("has_more"), listed.keys() <= seen
        yield [item for id, item in listed.items() if id not in seen]
        if more and known:
            raise MalformedAnswerError(f"{act}: the pages of the list repeat themselves")
        if known or more is False:
            return
        seen |= listed.keys()
        after = {"after": list(listed)[-1]}


def is_before(page: list[dict[str, Any]], since: datetime | None) -> bool:
    """Tell whether a page, and so all after it, holds what was made before `since`: it is sorted, newest first."""
    made = [moment(item.get("created_at")) for item in page]
    known = [at for at in made if at is not None]
    if since is None or not known or len(known) < len(made):
        return False
    return known[0] > known[-1] and known == sorted(known, reverse=True) and known[0] < since


def items(answer: Any, *, act: str) -> list[dict[str, Any]]:
    """Return what stands on the first page of a list."""
    return _data(decoded(answer, act=act), act=act)


def _data(page: dict[str, Any], *, act: str) -> list[dict[str, Any]]:
    data = page.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise MalformedAnswerError(f"{act}: the answer is no list")
    return data


def told_at(answer: Any) -> datetime | None:
    """Return the time of an answer by the server's clock, None where it names none."""
    try:
        return parsedate_to_datetime(answer.http_response.headers.get("date", "")).astimezone(UTC)
    except (ValueError, TypeError):
        return None


def decoded(answer: Any, *, act: str) -> dict[str, Any]:
    """Return the JSON object of an answer; raise `MalformedAnswerError`, or what `json` raises, for none."""
    told = answer.http_response.json()
    if not isinstance(told, dict):
        raise MalformedAnswerError(f"{act}: the answer is not the JSON it should be")
    return told


def id_of(told: Mapping[str, Any], *, act: str) -> str:
    """Return an object's id; raise `MalformedAnswerError` when it has none."""
    id = told.get("id")
    if isinstance(id, str) and id.strip():
        return id
    raise MalformedAnswerError(f"{act}: the answer has no id")


def _reason(error: object) -> str | None:
    if not isinstance(error, Mapping):
        return _text(error)
    code, message = _text(error.get("code")), _text(error.get("message"))
    said = " ".join((message or code or "").split())
    return f"{said} ({code})" if message and code else said or None


def _cause(error: object) -> Cause:
    fault = error if isinstance(error, Mapping) else {}
    code = str(fault.get("code"))
    if code in BILLING:
        return "billing"
    return "user" if code.startswith("invalid_") or among(fault.get("param"), FILES) else "provider"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def moment(value: object) -> datetime | None:
    """Read a time in seconds; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LAST_TIME:
        return None
    return datetime.fromtimestamp(value, UTC)
