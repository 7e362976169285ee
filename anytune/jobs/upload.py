"""A job's files on their way: each is sent once, and one that goes in parts is gone on with by whoever comes next.

What is noted of a file in parts stands in the job's record, before and after each step. The provider keeps it for so
long as it says (OpenAI: an hour); what is older than that by our clock is begun anew, and so is what is refused.
"""

from __future__ import annotations

from datetime import timedelta

from anytune import retry
from anytune.jobs import tidy
from anytune.jobs.desk import Desk, put
from anytune.providers.base import Provider, ResumesUploads, Reused
from anytune.schema.data import DataFile
from anytune.schema.job import Job, Sending

SLOW = 1e6  # bytes a second, with which an upload that breaks off is gone on with


def upload(job: Job, provider: Provider, desk: Desk) -> Job:
    """Send those of the job's files that are not at its provider yet, and write each down."""
    if len(job.files) < len(job.plan.files):
        tidy.let_through(job.provider, desk)
    for file in job.plan.files:
        if file.role not in job.files:
            way = _Way(job, file, desk)
            file_id = _send(way, provider)
            sent = () if isinstance(file_id, Reused) else (file_id,)
            files, sending = {**way.job.files, file.role: str(file_id)}, way.without()
            job = put(way.job, desk, files=files, sending=sending, sent=(*way.job.sent, *sent))
    return job


def _send(way: _Way, provider: Provider) -> str:
    clock, file, deadline = way.desk.clock, way.file, max(3600.0, way.file.bytes / SLOW)
    if isinstance(provider, ResumesUploads):
        return retry.call(
            lambda: provider.resume_upload(file, begun=way.begun(), note=way.note), clock=clock, deadline=deadline
        )
    return retry.call(lambda: provider.upload(file), clock=clock, deadline=deadline)


class _Way:
    """Be one file on its way, as the job's record has it."""

    def __init__(self, job: Job, file: DataFile, desk: Desk) -> None:
        self.job, self.file, self.desk = job, file, desk

    def begun(self) -> Sending | None:
        """Return what was noted last, None for what its provider has forgotten by now."""
        noted = self.job.sending.get(self.file.role)
        if noted is None or noted.lasts is None or noted.since is None:
            return noted
        return noted if self.desk.clock.now() < noted.since + timedelta(seconds=noted.lasts) else None

    def note(self, sending: Sending | None) -> None:
        """Write down how far it is; None: there is nothing to go on with."""
        role, known = self.file.role, self.job.sending.get(self.file.role)
        if sending is None:
            self.job = put(self.job, self.desk, sending=self.without())
            return
        since = known.since if known is not None and known.id == sending.id else None
        noted = sending.model_copy(update={"since": since or self.desk.clock.now()})
        self.job = put(self.job, self.desk, sending={**self.job.sending, role: noted})

    def without(self) -> dict[str, Sending]:
        """Return what is on its way beside this file."""
        return {role: sending for role, sending in self.job.sending.items() if role != self.file.role}
