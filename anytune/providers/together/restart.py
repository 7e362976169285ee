"""A job that failed on Together's side may be started again there under a new id: where it is told, and who it is.

The service tells it in the old job's events (`job_restarted`); in which field the new id stands is not documented, so
each text of the event is looked through. Where none names one, it is the newest job with the same suffix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anytune.errors import NotFoundError
from anytune.schema.job import JobState, RemoteJob

KIND = "job_restarted"
JOB_ID = re.compile(r"\bft-[0-9A-Za-z]+(?:-[0-9A-Za-z]+)*")
MOST = 10  # restarts of one job that are followed at once

Row = Mapping[str, Any]
Standing = Callable[[str], tuple[RemoteJob, Sequence[Row]]]


def followed(remote_id: str, *, standing: Standing, namesake: Callable[[RemoteJob], str | None]) -> RemoteJob:
    """Return the job that this one has become, with its earlier ids; itself where it was not started again.

    `standing` returns a job and, where it ended badly, its events; `namesake` another job with the same suffix.
    """
    gone: tuple[str, ...] = ()
    job, events = standing(remote_id)
    while (told := _told(events)) and len(gone) < MOST:
        known = (*gone, job.id)
        named = _named(told)
        successor = next((id for id in named if id not in known), None) or namesake(job)
        if successor is None:
            return _with(job if named else _somewhere(job, told), gone)
        try:
            later, events = standing(successor)
        except NotFoundError:  # told of before it can be looked at
            return _with(_somewhere(job, told), gone)
        if not _is_later(later, than=job):
            break
        gone, job = known, later
    return _with(job, gone)


def _told(events: Sequence[Row]) -> list[Row]:
    """Return the events that tell of a restart, oldest first."""
    return [event for event in events if str(event.get("type")).lower() == KIND]


def _named(restarts: Sequence[Row]) -> list[str]:
    """Return the ids that stand in the events, those of the last first."""
    texts = [text for event in reversed(restarts) for text in event.values() if isinstance(text, str)]
    return [id for text in texts for id in JOB_ID.findall(text)]


def _is_later(job: RemoteJob, *, than: RemoteJob) -> bool:
    # The event of a job may also tell from which one it itself came.
    return job.created_at is None or than.created_at is None or job.created_at >= than.created_at


def _with(job: RemoteJob, gone: tuple[str, ...]) -> RemoteJob:
    return job.model_copy(update={"replaces": gone}) if gone else job


def _somewhere(job: RemoteJob, told: Sequence[Row]) -> RemoteJob:
    """Leave open how a job ends that was started again under an id that cannot be found: it may run, and be paid."""
    said = str(told[-1].get("message") or "no reason was given")
    error = f"together started the job again, and it cannot be found yet ({said})"
    return job.model_copy(update={"state": JobState.UNKNOWN, "error": error, "cause": None, "finished_at": None})
