"""Together: raw bodies sent by the real SDK's client, and its answers read as raw JSON.

The SDK's own `create` drops LoRA settings, makes three calls where one is meant, and repeats a call that may
have been carried out; so only its client is used: the address, the key, the errors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from anytune import catalog
from anytune.errors import AmbiguousError, NotFoundError, QuotaError, RejectedError, UnavailableError
from anytune.providers import _download as download_of
from anytune.providers.base import Profile
from anytune.providers.edge import among
from anytune.providers.together import answer as answers
from anytune.providers.together import checkpoint as saved
from anytune.providers.together import list as lists
from anytune.providers.together import metrics as metrics
from anytune.providers.together import request as requests
from anytune.providers.together import restart as restarts
from anytune.providers.together import upload as uploads
from anytune.providers.together.gateway import NAME, Gateway
from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import Checkpoint, TunedModel
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

JOBS = "/v1/fine-tunes"
FILES = uploads.FILES
PRICED = (
    "model",
    "training_file",
    "validation_file",
    "n_epochs",
    "n_evals",
    "training_method",
    "training_type",
)


class TogetherProvider:
    """Translate between anytune's values and Together's interface."""

    name = "together"

    def __init__(self, profile: Profile, *, parts: uploads.Parts = uploads.Parts()) -> None:
        """Know how to reach Together; `parts` says how a large file is cut."""
        self._profile = profile
        self._gateway = Gateway(profile)
        self._uploads = uploads.Uploads(self._gateway, parts=parts)

    def capabilities(self, model: str) -> Capabilities:
        """Describe what Together does with this base model, from the catalogue: offline and without a key."""
        return catalog.capabilities(NAME, model, settings=requests.rules(model))

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the whole body of POST /v1/fine-tunes; the suffix carries the job id."""
        return requests.body(spec, job_id=job_id, training_file=training_file, validation_file=validation_file)

    def upload(self, file: DataFile) -> str:
        """Send one file and return its id; bytes that are there already are not sent again.

        A file above 5 GiB goes in parts: what failed in one is gone on with there by the next call. Raises
        `ConflictError` when the file has changed since it was checked, `RejectedError` with the server's report when
        the service finds it faulty.
        """
        return self._uploads.send(file, most=catalog.load(NAME).max_file_bytes)

    def delete_file(self, file_id: str) -> None:
        """Remove a file; harmless when it is gone already."""
        try:
            self._gateway.delete("remove the file", f"{FILES}/{_in_path(file_id)}")
        except NotFoundError:
            return

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job by one POST of exactly this body, once its files are validated.

        Raises `RateLimitedError` while they are not, `RejectedError` with the server's report when one is
        faulty: in both cases nothing was started.
        """
        self._require_checked_files(request)
        key = self._gateway.profile.wandb_key() if requests.PROJECT in request else ""
        body = {**request, requests.WANDB_KEY: key} if key else request
        return answers.job_of(self._gateway.post("create the job", JOBS, body, secret=key), act="create the job")

    def _require_checked_files(self, request: Mapping[str, Any]) -> None:
        act = "look at the file"
        for file_id in (request["training_file"], request.get("validation_file")):
            if file_id:
                try:
                    answers.require_checked(self._gateway.get(act, f"{FILES}/{_in_path(file_id)}"), act=act)
                except AmbiguousError as error:
                    # What is unclear is the look; the job was surely not created.
                    raise UnavailableError(error.message, status=error.status) from error

    def quote(self, request: dict[str, Any]) -> Decimal | None:
        """Ask what this request would cost, in US dollars; None when the service cannot tell.

        Raises `QuotaError` when the account's limit does not allow it, `RateLimitedError` while a file is not
        validated, `RejectedError` with the server's report when one is faulty.
        """
        act = "quote a price"
        self._require_checked_files(request)
        asked = {field: request[field] for field in PRICED if field in request}
        answer = self._gateway.post(act, f"{JOBS}/estimate-price", asked)
        price = answers.price_of(answer, act=act)
        if price is not None and answer.get("allowed_to_proceed") is False:
            limit = answer.get("user_limit")
            raise QuotaError(f"together: the job is priced at ${price:.2f}, the account's limit is ${limit}")
        return price

    def models(self) -> Offer:
        """Ask for the list of models that can be tuned, and for the limits of each."""
        base = self._profile.base_url or catalog.load(NAME).base_url or ""
        return lists.offer(self._gateway.get, origin=base.rstrip("/").removesuffix("/v1"))

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a job stands; one that the service started again under a new id is told as that one, by its id.

        Its events are asked too where it ended badly and the answer has none.
        """
        return restarts.followed(remote_id, standing=self._standing, namesake=self._namesake)

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Ask how many jobs stand by the list, which comes in one page; one that ended badly is asked for by itself."""
        del since
        act, found = "list the jobs", dict[str, RemoteJob]()
        for row in answers.listed(self._gateway.get(act, JOBS), act=act) if ids else ():
            if among(row.get("id"), ids):
                job = answers.job_of(row, act=act)
                found[job.id] = self.retrieve(job.id) if job.state in answers.BAD_ENDS else job
        return found

    def _standing(self, remote_id: str) -> tuple[RemoteJob, list[Mapping[str, Any]]]:
        """Return a job and, where it ended badly, its events."""
        act = "retrieve the job"
        answer = self._gateway.get(act, f"{JOBS}/{_in_path(remote_id)}")
        job = answers.job_of(answer, act=act, expected=remote_id)
        if job.state not in answers.BAD_ENDS:
            return job, []
        if not answer.get("events"):
            told = self._gateway.get("list events", f"{JOBS}/{remote_id}/events").get("data")
            answer = {**answer, "events": told}
            job = answers.job_of(answer, act=act, expected=remote_id)
        return job, answers.rows(answer, "events")

    def _namesake(self, job: RemoteJob) -> str | None:
        found = self.find(job.seen_job_id) if job.seen_job_id is not None else None
        return found.id if found is not None and found.id != job.id else None

    def events(self, remote_id: str) -> list[Event]:
        """List all events, each once, oldest first; once training has begun, the figures of its steps among them.

        Figures that cannot be had now come with a later look.
        """
        act = "list events"
        answer = self._gateway.get(act, f"{JOBS}/{_in_path(remote_id)}/events")
        told = answers.events_of(answers.listed(answer, act=act))
        return self.measured(remote_id, told) if metrics.have_begun(told) else told

    def measured(self, remote_id: str, events: Sequence[Event]) -> list[Event]:
        """Return these events, which came with the job, with the figures of the steps among them, by one call."""
        try:
            answer = self._gateway.get("list metrics", f"{JOBS}/{_in_path(remote_id)}/metrics")
        except (AmbiguousError, RejectedError, UnavailableError):
            return list(events)
        figures = metrics.events_of(answers.rows(answer, "metrics"), among=events, remote_id=remote_id)
        return answers.in_order([*events, *figures])

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job; one that has ended, or is being cancelled, is returned as it stands."""
        act = "cancel the job"
        try:
            answer = self._gateway.post(act, f"{JOBS}/{_in_path(remote_id)}/cancel")
        except NotFoundError:
            raise
        except RejectedError:
            job = self.retrieve(remote_id)
            if job.id == remote_id and not (job.state.is_terminal or job.state is JobState.CANCELLING):
                raise
        else:
            job = answers.job_of(answer, act=act, expected=remote_id)
            if job.state is JobState.FAILED:  # it may have been started again under a new id, which runs
                job = self.retrieve(remote_id)
        if job.id == remote_id or job.state.is_terminal or job.state is JobState.CANCELLING:
            return job
        later = self.cancel(job.id)
        return later.model_copy(update={"replaces": (*job.replaces, *later.replaces)})

    def find(self, job_id: str) -> RemoteJob | None:
        """Find the newest job that carries our id, one that ended badly only if there is no other.

        The list comes in one page. None only when it was read and none is ours.
        """
        act = "find the job"
        rows = answers.listed(self._gateway.get(act, JOBS), act=act)
        ours = [answers.job_of(row, act=act) for row in rows if _is_ours(row, job_id)]
        best = max(ours, key=_preference, default=None)
        return best.model_copy(update={"seen_job_id": job_id}) if best is not None else None

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Download the adapter or the whole model, or that of a checkpoint, into `out` and return its manifest.

        A call that was cut off is gone on with by the next one.
        """
        from anytune.providers.together import download as downloads  # archives and all, for this alone

        if to not in ("adapter", "merged"):
            raise RejectedError(f"together hands out adapter or merged, not {to!r}", param="to")
        folder = download_of.free_folder(out)
        remote_id = tuned.remote_id or self._maker(tuned)
        job = self._gateway.get(downloads.ACT, f"{JOBS}/{_in_path(remote_id)}")
        whole, step = {"checkpoint": downloads.selector(job, to)}, saved.step_in(tuned)
        chosen = None if step is None else saved.selector(self._saved(remote_id), step, to=to)
        query = {"ft_id": remote_id, **(chosen or whole)}
        return downloads.download(self._gateway, tuned, query=query, to=to, out=folder)

    def checkpoints(self, remote_id: str) -> list[Checkpoint]:
        """List the models of the way there that are kept, in the order of their steps; the last may be the end."""
        return saved.read(self._saved(remote_id), remote_id=remote_id)

    def _saved(self, remote_id: str) -> list[Mapping[str, Any]]:
        answer = self._gateway.get(saved.ACT, f"{JOBS}/{_in_path(remote_id)}/checkpoints")
        return answers.listed(answer, act=saved.ACT)

    def _maker(self, tuned: TunedModel) -> str:
        job = self.find(tuned.job_id)
        if job is None:
            raise NotFoundError(f"together knows no job that made {tuned.name}")
        return job.id


def _in_path(remote_id: str) -> str:
    if answers.SAFE_ID.fullmatch(remote_id) is None:
        raise NotFoundError(f"together knows no {remote_id!r}: this is no id of its making")
    return remote_id


def _is_ours(row: Mapping[str, Any], job_id: str) -> bool:
    seen = requests.job_id_in(row.get("suffix"))
    if seen is not None:
        return requests.carries(job_id, seen)  # the user's own part, before it, may name another job
    # A suffix that came back otherwise than it was sent still holds the id, and so does the model's name.
    texts = (row.get("suffix"), *(row.get(field) for field in answers.MODEL_FIELDS))
    return requests.carries(job_id, *texts)


def _preference(job: RemoteJob) -> tuple[bool, datetime]:
    created = job.created_at or datetime.min.replace(tzinfo=UTC)
    return job.state not in answers.BAD_ENDS, created
