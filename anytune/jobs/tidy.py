"""Files that a refused job left at its provider: removed when surely nobody needs them, as the record says beforehand.

Only what jobs of this record sent is removed, only after a refusal that no change of the job would mend, and never
while it is open whether a remote job was made after all. A file that another job names, or is about to name, stays:
bytes are sent once, for all jobs.

A submit writes down what it is going to send, passes `let_through`, and only then looks whether the provider has it. A
removal looks for such jobs and removes the file in one go, which `let_through` waits for. So either the removal sees
the submit and leaves the file, or the submit finds it gone and sends it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from anytune import retry
from anytune.errors import AnytuneError, ClosedError, CredentialError, RejectedError
from anytune.jobs.desk import BAD_ENDS, Desk, put
from anytune.providers.base import DeletesFiles
from anytune.schema.job import Event, Job

PATIENCE = 30.0  # seconds for which a removal is tried


def leftovers(job: Job, error: RejectedError, desk: Desk) -> tuple[str, ...]:
    """Return the files that nobody needs after this refusal of the job."""
    unclear = job.creates > 1  # the answer to an earlier create was lost: a job of it may exist
    if unclear or job.remote is not None or not isinstance(error, ClosedError):
        return ()
    ours = {file_id for each in desk.store.list(provider=job.provider) for file_id in each.sent}
    named = dict.fromkeys(job.files.values())
    return tuple(file_id for file_id in named if file_id in ours and not _is_used(file_id, job, desk))


def remove(job: Job, desk: Desk) -> tuple[Job, tuple[str, ...]]:
    """Remove the files that the job's record says are to be, and return what came of each; the caller acts for it.

    What fails is told once, here and among the job's events. What may pass is tried again by the next command that
    looks at the job, a refusal is not.
    """
    told = []
    for file_id in job.to_remove:
        result = _removed(file_id, job, desk)
        told.append(result.said)
        word = "kept" if result.again else "removed"
        event = Event(id=f"{word}-{file_id}", at=desk.clock.now(), level=result.level, message=result.said)
        desk.store.add_events(job.id, [event])
        if not result.again:
            job = put(job, desk, to_remove=tuple(other for other in job.to_remove if other != file_id))
    return job, tuple(told)


def let_through(provider: str, desk: Desk) -> None:
    """Wait until no process of this record is removing a file of this provider."""
    with desk.store.acting(_removing(provider)):
        pass


def _removing(provider: str) -> str:
    return f"files-of-{provider}"  # no job's id: those end in ten digits


@dataclass(frozen=True)
class _Result:
    """Say what came of a removal, and whether it is to be tried again."""

    said: str
    level: Literal["info", "warning"] = "info"
    again: bool = False


def _removed(file_id: str, job: Job, desk: Desk) -> _Result:
    provider = desk.provider(job.provider)
    if not isinstance(provider, DeletesFiles):
        return _Result(f"{file_id} stays at {job.provider}, which removes files only by hand")
    try:
        with desk.store.acting(_removing(job.provider)):
            if _is_used(file_id, job, desk):
                return _Result(f"{file_id} stays at {job.provider}: another job uses it")
            retry.call(lambda: provider.delete_file(file_id), clock=desk.clock, attempts=3, deadline=PATIENCE)
    except AnytuneError as error:
        again = isinstance(error, (*retry.REPEATABLE, CredentialError))
        then = f"; anytune show {job.id} tries it again" if again else ""
        said = f"{file_id} could not be removed from {job.provider}: {error.message}{then}"
        return _Result(said, level="warning", again=again)
    return _Result(f"{file_id} was removed from {job.provider} again")


def _is_used(file_id: str, job: Job, desk: Desk) -> bool:
    """Tell whether another job has the file, or is still to send the same bytes."""
    same = {file.sha256 for file in job.plan.files if job.files.get(file.role) == file_id}
    return any(
        file_id in other.files.values()
        or any(file.sha256 in same and file.role not in other.files for file in other.plan.files)
        for other in _others(job, desk)
    )


def _others(job: Job, desk: Desk) -> Iterator[Job]:
    for other in desk.store.list(provider=job.provider):
        if other.id != job.id and other.state not in BAD_ENDS:
            yield other
