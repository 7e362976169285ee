"""From rows to values, alike in every database."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec
from pydantic import ValidationError

from anytune import spending
from anytune.errors import StoreError, UsageError
from anytune.schema.job import Job, JobState, Summary

# Only a text with all fields of a summary, and no others, is read so; of most nothing is looked at.
_LOOKED_AT: dict[str, Any] = {"local": bool, "state": JobState}
_glance: Callable[[str], Any] = msgspec.json.Decoder(
    msgspec.defstruct(
        "Glance",
        [(name, _LOOKED_AT.get(name, msgspec.Raw)) for name in Summary.model_fields],
        forbid_unknown_fields=True,
    )
).decode
Named = tuple[str, str, str]  # id, name, body

TAKEN_OVER = "a newer anytune has taken up the record while this one ran; run it again"


def job_of(body: str, place: object) -> Job:
    """Read a job; raise `StoreError` for one that this version does not know."""
    try:
        return Job.model_validate_json(body)
    except ValidationError as error:
        raise _foreign(place) from error


def readable(body: str) -> Job | None:
    """Read a job, None for one that this version does not know."""
    try:
        return Job.model_validate_json(body)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Summaries(Sequence[Summary]):
    """Read each summary where it is wanted, for ten thousand of them are some fifty megabytes.

    `rows` are the texts of summaries; of a job that has none yet, that of the job itself.
    """

    rows: Sequence[tuple[str | None, str | None]]
    place: object

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Summary: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Summary]: ...
    def __getitem__(self, at: int | slice) -> Summary | Sequence[Summary]:
        if isinstance(at, slice):
            return Summaries(self.rows[at], self.place)
        return _summary_of(*self.rows[at], self.place)

    def __iter__(self) -> Iterator[Summary]:
        """Yield all; meanwhile Python does not look for cycles, which takes as long as to read, and finds none."""
        looks = gc.isenabled()
        gc.disable()
        try:
            yield from (_summary_of(summary, body, self.place) for summary, body in self.rows)
        finally:
            if looks:
                gc.enable()

    def texts(self) -> Iterator[tuple[str, bool]]:
        """Yield each as JSON, and whether it is of a job of this machine that has not ended.

        One that this version wrote is yielded as it stands: to read it into a value, and to write that, takes ten times
        as long.
        """
        for summary, body in self.rows:
            try:
                seen = _glance(summary or "")
            except msgspec.DecodeError:
                read = _summary_of(summary, body, self.place)
                yield read.model_dump_json(), read.local and not read.state.is_terminal
            else:
                yield summary or "", seen.local and not seen.state.is_terminal


def _summary_of(summary: str | None, body: str | None, place: object) -> Summary:
    if summary is None:
        return Summary.of(job_of(body or "", place))
    try:
        return Summary.model_validate_json(summary)
    except ValidationError as error:
        raise _foreign(place) from error


def charge_rows(job: Job) -> list[tuple[str, int, str, str]]:
    """Return what a job counts for as rows: its id, number, month, and the charge as JSON.

    None is ever taken away (who shares a record need not have the right to): what came to nothing counts for nothing.
    """
    return [(c.job_id, c.number, c.month, c.model_dump_json()) for c in spending.charges(job)]


def may_name(job_id: str) -> bool:
    """Tell whether a job could be called so: ids and names are plain ASCII."""
    return bool(job_id) and job_id.isascii() and job_id.isprintable()


def the_one(rows: Sequence[Named], job_id: str, place: object) -> Job:
    """Return the job that is meant, of those that could be, newest first; raise `UsageError` if none or several are."""
    exact = [row for row in rows if row[0] == job_id] or [row for row in rows if row[1] == job_id][:1]
    if len(exact or rows) == 1:
        return job_of((exact or rows)[0][2], place)
    if rows:
        raise UsageError(f"{job_id!r} begins {len(rows)} jobs: {', '.join(row[0] for row in rows[:5])}")
    if job_id == "last":
        raise UsageError("no jobs so far", fix="anytune run finetune.yaml")
    raise UsageError(f"there is no job {job_id!r}", fix="anytune list shows the jobs")


def newer(place: object, version: int) -> StoreError:
    """Say that a record cannot be read because a newer anytune made it."""
    return StoreError(f"{place} was written by a newer anytune (schema {version})", fix="pip install -U anytune")


def _foreign(place: object) -> StoreError:
    return StoreError(f"{place} holds a job that another version of anytune wrote", fix="pip install -U anytune")
