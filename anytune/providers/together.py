"""Together: raw bodies sent by the real SDK's client, and its answers read as raw JSON.

The SDK's own `create` drops LoRA settings, makes three calls where one is meant, and repeats a call that may
have been carried out; so only its client is used: the address, the key, the errors.

A job that fails on Together's side may be started again under a new id (event `job_restarted`). Whether the
new one keeps the suffix, so that `find` would see it, is not known; `retrieve` tells of the old job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from anytune import catalog
from anytune.errors import (
    AmbiguousError,
    KeyRefusedError,
    MalformedAnswerError,
    MissingExtraError,
    NotFoundError,
    QuotaError,
    RejectedError,
    UnavailableError,
)
from anytune.providers import _storage as storage
from anytune.providers import _together_answer as answers
from anytune.providers import _together_list as lists
from anytune.providers import _together_request as requests
from anytune.providers import _together_upload as uploads
from anytune.providers.base import Profile
from anytune.providers.checked import open_unchanged
from anytune.providers.edge import bounded_client, mapped, sendable_key
from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

JOBS = "/v1/fine-tunes"
FILES = "/v1/files"
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

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._client: Any = None

    def capabilities(self, model: str) -> Capabilities:
        """Describe what Together does with this base model, from the catalogue: offline and without a key."""
        known = catalog.capabilities("together", model, settings=requests.rules(model))
        limit = min(known.max_file_bytes or uploads.MAX_BYTES, uploads.MAX_BYTES)
        return known.model_copy(update={"max_file_bytes": limit})

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the whole body of POST /v1/fine-tunes; the suffix carries the job id."""
        return requests.body(spec, job_id=job_id, training_file=training_file, validation_file=validation_file)

    def upload(self, file: DataFile) -> str:
        """Send one file in three calls and return its id; bytes that are there already are not sent again.

        Raises `ConflictError` when the file has changed since it was checked, `RejectedError` with the
        server's report when the service finds it faulty.
        """
        with (
            open_unchanged(file, provider="Together", most=uploads.MAX_BYTES) as handle,
            self._connected("upload") as sdk,
        ):
            answer = uploads.reserve(sdk, file)
            known = uploads.known_id(answer)
            if known is not None:
                return self._reuse(answers.safe_id(known, act="upload"))
            url, file_id = uploads.place(answer)
            file_id = answers.safe_id(file_id, act="upload")
            storage.put(url, handle, file, provider="together", seconds=self._profile.upload_timeout)
        answers.refuse_faulty(self._post("check the file", f"{FILES}/{file_id}/preprocess"), act="check the file")
        return file_id

    def _reuse(self, file_id: str) -> str:
        standing = self._get("reuse the file", f"{FILES}/{file_id}")
        answers.refuse_faulty(standing, act="reuse the file")
        if standing.get("processing_status") == "PENDING":
            # The process that put the bytes there may have ended before it asked for the checks.
            self._post("check the file", f"{FILES}/{file_id}/preprocess")
        return file_id

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job by one POST of exactly this body, once its files are validated.

        Raises `RateLimitedError` while they are not, `RejectedError` with the server's report when one is
        faulty: in both cases nothing was started.
        """
        self._require_checked_files(request)
        return answers.job_of(self._post("create the job", JOBS, request), act="create the job")

    def _require_checked_files(self, request: Mapping[str, Any]) -> None:
        act = "look at the file"
        for file_id in (request["training_file"], request.get("validation_file")):
            if file_id:
                try:
                    answers.require_checked(self._get(act, f"{FILES}/{_in_path(file_id)}"), act=act)
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
        answer = self._post(act, f"{JOBS}/estimate-price", asked)
        price = answers.price_of(answer, act=act)
        if price is not None and answer.get("allowed_to_proceed") is False:
            limit = answer.get("user_limit")
            raise QuotaError(f"together: the job is priced at ${price:.2f}, the account's limit is ${limit}")
        return price

    def models(self) -> Offer:
        """Ask for the list of models that can be tuned, and for the limits of each."""
        return lists.offer(self._get, origin=_origin(self._profile.base_url or catalog.load("together").base_url or ""))

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how a job stands; its events are asked too where it ended badly and the answer has none."""
        act = "retrieve the job"
        answer = self._get(act, f"{JOBS}/{_in_path(remote_id)}")
        job = answers.job_of(answer, act=act, expected=remote_id)
        if job.state in answers.BAD_ENDS and not answer.get("events"):
            told = self._get("list events", f"{JOBS}/{remote_id}/events")
            job = answers.job_of({**answer, "events": told.get("data")}, act=act, expected=remote_id)
        return job

    def events(self, remote_id: str) -> list[Event]:
        """List all events, each once, oldest first."""
        act = "list events"
        answer = self._get(act, f"{JOBS}/{_in_path(remote_id)}/events")
        return answers.events_of(answers.listed(answer, act=act))

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job; one that has ended, or is being cancelled, is returned as it stands."""
        act = "cancel the job"
        try:
            answer = self._post(act, f"{JOBS}/{_in_path(remote_id)}/cancel")
        except NotFoundError:
            raise
        except RejectedError:
            job = self.retrieve(remote_id)
            if job.state.is_terminal or job.state is JobState.CANCELLING:
                return job
            raise
        return answers.job_of(answer, act=act, expected=remote_id)

    def find(self, job_id: str) -> RemoteJob | None:
        """Find the newest job that carries our id, one that ended badly only if there is no other.

        The list comes in one page. None only when it was read and none is ours.
        """
        act = "find the job"
        rows = answers.listed(self._get(act, JOBS), act=act)
        ours = [answers.job_of(row, act=act) for row in rows if _is_ours(row, job_id)]
        best = max(ours, key=_preference, default=None)
        return best.model_copy(update={"seen_job_id": job_id}) if best is not None else None

    def _get(self, act: str, path: str) -> dict[str, Any]:
        import httpx

        with self._connected(act) as sdk:
            return _json_object(sdk.get(path, cast_to=httpx.Response), act=act)

    def _post(self, act: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        import httpx

        with self._connected(act) as sdk:
            return _json_object(sdk.post(path, cast_to=httpx.Response, body=body), act=act)

    @contextmanager
    def _connected(self, act: str) -> Iterator[Any]:
        if self._client is None:
            self._client = _connect(self._profile)
        try:
            with mapped("together", act, secret=self._client.api_key):
                yield self._client
        except KeyRefusedError:
            self._client = None  # the next call asks for the key again: it may have been renewed
            raise


def _connect(profile: Profile) -> Any:
    try:
        import httpx
        import together
    except ImportError as error:
        raise MissingExtraError(needs="together", extra="together") from error
    return together.Together(
        api_key=sendable_key(profile.key(), provider="together"),
        base_url=_origin(profile.base_url or catalog.load("together").base_url or ""),
        max_retries=0,
        http_client=bounded_client(httpx, seconds=profile.timeout),
    )


def _origin(base_url: str) -> str:
    # The SDK's paths begin with /v1 since its third version; addresses written before it end so.
    return base_url.rstrip("/").removesuffix("/v1")


def _json_object(response: Any, *, act: str) -> dict[str, Any]:
    found = response.json()
    if isinstance(found, dict):
        return found
    raise MalformedAnswerError(f"together: {act}: the answer is not the JSON it should be")


def _in_path(remote_id: str) -> str:
    if answers.SAFE_ID.fullmatch(remote_id) is None:
        raise NotFoundError(f"together knows no {remote_id!r}: this is no id of its making")
    return remote_id


def _is_ours(row: Mapping[str, Any], job_id: str) -> bool:
    seen = requests.job_id_in(row.get("suffix"))
    # A suffix that came back otherwise than it was sent still holds the id, and so does the model's name.
    texts = (row.get("suffix"), *(row.get(field) for field in answers.MODEL_FIELDS))
    return seen == job_id or requests.carries(job_id, *texts)


def _preference(job: RemoteJob) -> tuple[bool, datetime]:
    created = job.created_at or datetime.min.replace(tzinfo=UTC)
    return job.state not in answers.BAD_ENDS, created
