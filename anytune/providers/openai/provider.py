"""OpenAI's fine-tuning API through the vendor's SDK, and every server that speaks it, each in its own dialect.

The SDK repeats a creation whose answer was lost and sends no idempotency key with it; so its retries are off, our job
id travels in the job's metadata or suffix, and `find` looks for it there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from anytune.errors import (
    NotFoundError,
    RateLimitedError,
    RejectedError,
    UsageError,
)
from anytune.providers import _download as download_of
from anytune.providers.base import Profile
from anytune.providers.openai import answer as answers
from anytune.providers.openai import list as lists
from anytune.providers.openai import request as requests
from anytune.providers.openai import upload as uploads
from anytune.providers.openai.chat import ChatGenerator
from anytune.providers.openai.client import Client
from anytune.providers.openai.file import Files
from anytune.providers.openai.history import History
from anytune.providers.openai.speech import Speech
from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob, Sending
from anytune.schema.model import Checkpoint, TunedModel
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

PAGE = 100  # the most that one list call is asked for
ENDED_ALREADY = {400, 409}  # how a cancel of an ended job is refused
ASK_AGAIN = 15.0  # seconds after which a new model is asked again
GETS_READY = timedelta(hours=1)  # for which a model that was just made may not answer


class OpenAIProvider:
    """Tune and ask models at OpenAI, or at a server that speaks its API."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._speech = Speech(profile)
        self._client = Client(self._speech)
        self._files = Files(self._client, self._speech)
        self._history = History(self._client, self._speech)
        self.name = profile.name

    def capabilities(self, model: str) -> Capabilities:
        """Describe what can be done with this base model, offline and without a key."""
        return self._speech.capabilities(model)

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the body that `create` sends; only what the user chose is in it."""
        return requests.render(
            spec,
            self._speech.dialect,
            job_id=job_id,
            training_file=training_file,
            validation_file=validation_file,
            beside=self._speech.tier,
        )

    def upload(self, file: DataFile) -> str:
        """Send one file, unless it stands among the newest files already; return its id.

        The name at the provider is made of the content's hash: a send whose answer was lost is not repeated.
        Raises `UsageError` for a file that cannot be read, `ConflictError` for one that has changed.
        """
        return self.resume_upload(file, begun=None, note=lambda _: None)

    def resume_upload(self, file: DataFile, *, begun: Sending | None, note: uploads.Note) -> str:
        """Send one file as `upload` does; one that is too large for a call goes on where `begun` stands."""
        return self._files.send(file, begun=begun, note=note)

    def delete_file(self, file_id: str) -> None:
        """Remove a file; harmless when it is gone already."""
        self._files.remove(file_id)

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job, sending the request once; where a server checks files first, once they are checked.

        Raises `RateLimitedError` while they are not, `RejectedError` when one is faulty: nothing was started.
        """
        if self._speech.dialect.checks_files:
            self._files.require_checked(request)
        with self._client.mapped("create"):
            known, other = _known_to_the_sdk(request)
            return self._told(self._client.jobs.create(**known, extra_body=other or None), act="create")

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how the job stands."""
        with self._client.mapped("retrieve"):
            return self._told(self._client.jobs.retrieve(remote_id), act="retrieve", asked=remote_id)

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many jobs stand by walking the list, newest first, until all were seen or the rest is older."""
        act, found = self._client.act("list the jobs"), dict[str, RemoteJob]()
        with self._client.mapped("list the jobs"):
            ask = partial(self._client.jobs.list, limit=PAGE)
            for page in answers.pages(ask, act=act) if ids else ():
                found |= {job.id: job for row in page if row["id"] in ids for job in [answers.job_of(row, act=act)]}
                if len(found) == len(ids) or answers.is_before(page, since):
                    break
        # a success that has no model yet is named after a checkpoint, or ends by the time of its own answer
        return {id: self.retrieve(id) if job.state is JobState.FINALIZING else job for id, job in found.items()}

    def events(self, remote_id: str) -> list[Event]:
        """List all events, oldest first; where none tells a loss, what an ended job left behind does."""
        return self._history.events(remote_id)

    def later_events(self, remote_id: str, known: Collection[str]) -> list[Event]:
        """List the newest events, and some that are known."""
        return self._history.later_events(remote_id, known)

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop the job; one that has ended is answered as it stands."""
        return self._halted("cancel", remote_id, already=lambda job: job.state.is_terminal)

    def _halted(self, act: str, remote_id: str, *, already: Callable[[RemoteJob], bool]) -> RemoteJob:
        """Have a job halt; where that is refused because it has `already`, answer with how it stands."""
        try:
            with self._client.mapped(act):
                return self._told(getattr(self._client.jobs, act)(remote_id), act=act, asked=remote_id)
        except RejectedError as error:
            if error.status not in ENDED_ALREADY:
                raise
            stands = self.retrieve(remote_id)
            if not already(stands):
                raise
            return stands

    def pause(self, remote_id: str) -> RemoteJob:
        """Have the job halt at a checkpoint; one that is halted or has ended is answered as it stands."""
        if not self._speech.dialect.pauses:
            raise UsageError(f"{self.name} cannot pause a job")
        return self._halted(
            "pause", remote_id, already=lambda job: job.state.is_terminal or job.state is JobState.PAUSED
        )

    def resume(self, remote_id: str) -> RemoteJob:
        """Go on with a paused job; any other is answered as it stands."""
        job = self.retrieve(remote_id)
        if job.state is not JobState.PAUSED or not self._speech.dialect.pauses:
            return job
        with self._client.mapped("resume"):
            return self._told(self._client.jobs.resume(remote_id), act="resume", asked=remote_id)

    def find(self, job_id: str) -> RemoteJob | None:
        """Find the job that carries our id; of several the newest that did not fail."""
        act = self._client.act("find")
        # a server that may drop metadata would find nothing by them
        tag = {f"metadata[{requests.TAG}]": job_id} if self._speech.dialect.tag == "metadata" else {}
        with self._client.mapped("find"):
            ask = partial(self._client.jobs.list, limit=PAGE, extra_query=tag)
            # a server that does not know the filter answers with all jobs
            listed = [job for job in answers.whole_list(ask, act=act) if answers.is_ours(job, job_id)]
        ours = [answers.job_of(job, act=act) for job in listed]
        good = [job for job in ours if job.state not in {JobState.FAILED, JobState.CANCELLED}]
        best = max(good or ours, key=lambda job: job.created_at or answers.EPOCH, default=None)
        return self._named(best.model_copy(update={"seen_job_id": job_id})) if best is not None else None

    def models(self) -> Offer:
        """Ask which models of the catalogue are there still, and until when."""
        with self._client.mapped(lists.ACT):
            listed = self._client.calls.models.with_raw_response.list()
            rows = answers.items(listed, act=self._client.act(lists.ACT))
        return lists.offer(
            rows,
            known=() if self._speech.foreign else self._speech.like.models,
            source=f"{self._speech.base_url}/models",
            whole=self._speech.like.provider == "openai" and not self._speech.foreign,
        )

    def generator(self, *, base: str, tuned: TunedModel | None, beside: TunedModel | None = None) -> ChatGenerator:
        """Open the tuned model, or the base alone when `tuned` is None; it is the same `beside` any.

        A tuned model that is not there yet is answered with `RateLimitedError`.
        """
        del beside
        model = tuned.name if tuned is not None else base
        return ChatGenerator(self._client, model, missing=partial(self._missing, tuned=tuned))

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Download a checkpoint's files into `out` and return its manifest; raise `UsageError` where none are given."""
        if self._speech.dialect.model != "checkpoint":
            fix = "anytune models shows whose weights come home"
            raise UsageError(f"{self.name} does not hand out weights from here", fix=fix)
        folder = download_of.free_folder(out)
        remote_id, _, wanted = tuned.name.partition(":")
        files = self._history.files(remote_id, wanted)
        if not files:
            raise NotFoundError(f"{self.name}: {tuned.name} has no files")
        from anytune.providers.openai import download as downloads  # archives and all, for this alone

        return downloads.download(files, tuned, self._client, to=to, out=folder)

    def _missing(self, error: NotFoundError, *, tuned: TunedModel | None) -> Exception:
        if tuned is not None and self._speech.dialect.serving is not None:
            return NotFoundError(error.message, status=error.status, fix=self._speech.dialect.serving)
        if tuned is not None and self._is_new(tuned):
            said = f"{self.name}: {tuned.name} does not answer yet: a new model takes some minutes"
            return RateLimitedError(said, retry_after=ASK_AGAIN, status=error.status)
        return error

    def _is_new(self, tuned: TunedModel) -> bool:
        """Tell whether a model was made a moment ago, by the server's own clock."""
        job = self.find(tuned.job_id)
        if job is None or job.finished_at is None:
            return False
        with self._client.mapped("retrieve"):
            now = answers.told_at(self._client.jobs.retrieve(job.id))
        return now is not None and now - job.finished_at < GETS_READY

    def _told(self, answer: Any, *, act: str, asked: str | None = None) -> RemoteJob:
        job = self._named(answers.remote_job(answer, act=self._client.act(act), asked=asked))
        now = answers.told_at(answer)
        if job.state is not JobState.FINALIZING or now is None:
            return job
        ended = job.finished_at or max((event.at for event in self.events(job.id)), default=answers.EPOCH)
        return answers.nameless(job, since=now - ended) if ended > answers.EPOCH else job

    def _named(self, job: RemoteJob) -> RemoteJob:
        """Name the model of a job that succeeded after its last checkpoint, where the job itself names none."""
        if self._speech.dialect.model != "checkpoint" or job.status != "succeeded" or job.model is not None:
            return job
        saved = list[Checkpoint]()
        with suppress(NotFoundError):  # not there (yet); the job is
            saved = self.checkpoints(job.id)
        return job.model_copy(update={"state": JobState.SUCCEEDED, "model": saved[-1].model}) if saved else job

    def checkpoints(self, remote_id: str) -> list[Checkpoint]:
        """List the checkpoints that are kept, in the order of their steps; OpenAI keeps the last three."""
        return self._history.checkpoints(remote_id)


def _known_to_the_sdk(request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a body into what the SDK's `create` names and what it sends only as an extra."""
    named = {"model", "training_file", "validation_file", "suffix", "seed", "method", "metadata", "hyperparameters"}
    named |= {"integrations"}
    known = {name: value for name, value in request.items() if name in named}
    return known, {name: value for name, value in request.items() if name not in named}
