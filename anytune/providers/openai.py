"""OpenAI's fine-tuning API, through the vendor's SDK.

The SDK repeats a creation whose answer was lost and sends no idempotency key with it; so its retries are off, our job
id travels in the job's metadata, and `find` looks for it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from anytune import catalog
from anytune.errors import MissingExtraError, RejectedError
from anytune.providers import _openai_answer as answers
from anytune.providers import _openai_list as lists
from anytune.providers import _openai_request as requests
from anytune.providers.base import ChatMessage, Profile
from anytune.providers.checked import open_unchanged
from anytune.providers.edge import bounded_client, mapped, sendable_key
from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

PURPOSE = "fine-tune"
PAGE = 100  # the most that one list call is asked for
UNUSABLE = {"error", "deleted"}
ENDED_ALREADY = {400, 409}  # how a cancel of an ended job is refused


class OpenAIProvider:
    """Tune and ask models at OpenAI, or at a server that speaks its API (`Profile.base_url`)."""

    name = "openai"

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def capabilities(self, model: str) -> Capabilities:
        """Describe what can be done with this base model, offline and without a key."""
        return catalog.capabilities(self.name, model, settings=requests.RULES)

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the body that `create` sends; only what the user chose is in it."""
        return requests.render(spec, job_id=job_id, training_file=training_file, validation_file=validation_file)

    def upload(self, file: DataFile) -> str:
        """Send one file, unless it stands among the newest files already; return its id.

        The name at the provider is made of the content's hash: a send whose answer was lost is not repeated.
        Raises `UsageError` for a file that cannot be read, `ConflictError` for one that has changed.
        """
        with open_unchanged(file, provider=self.name) as handle:
            name = f"{file.sha256[:16]}-{file.role}.jsonl"
            known = self._uploaded(name, size=file.bytes)
            if known is not None:
                return known
            with self._mapped("upload"):
                sent = self._uploads.files.with_raw_response.create(file=(name, handle), purpose=PURPOSE)
                return answers.id_of(answers.decoded(sent, act="upload"), act="upload")

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job, sending the request once."""
        with self._mapped("create"):
            return answers.remote_job(self._jobs.create(**request), act="create")

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how the job stands."""
        with self._mapped("retrieve"):
            return answers.remote_job(self._jobs.retrieve(remote_id), act="retrieve", asked=remote_id)

    def events(self, remote_id: str) -> list[Event]:
        """List all events, oldest first."""
        with self._mapped("events"):
            ask = partial(self._jobs.list_events, remote_id, limit=PAGE)
            told = [answers.event(item) for item in answers.whole_list(ask, act="events")]
        # OpenAI tells the newest first, some who speak its API the oldest; within a second the order decides
        if told and told[0].at >= told[-1].at:
            told.reverse()
        return sorted(told, key=lambda event: event.at)

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop the job; one that has ended is answered as it stands."""
        try:
            with self._mapped("cancel"):
                return answers.remote_job(self._jobs.cancel(remote_id), act="cancel", asked=remote_id)
        except RejectedError as error:
            if error.status not in ENDED_ALREADY:
                raise
            stands = self.retrieve(remote_id)
            if not stands.state.is_terminal:
                raise
            return stands

    def find(self, job_id: str) -> RemoteJob | None:
        """Find the job whose metadata carry our id; of several the newest that did not fail."""
        tag = {f"metadata[{requests.TAG}]": job_id}
        with self._mapped("find"):
            ask = partial(self._jobs.list, limit=PAGE, extra_query=tag)
            listed = [answers.job_of(item, act="find") for item in answers.whole_list(ask, act="find")]
        # a server that does not know the filter answers with all jobs
        ours = [job for job in listed if job.seen_job_id == job_id]
        good = [job for job in ours if job.state not in {JobState.FAILED, JobState.CANCELLED}]
        return max(good or ours, key=lambda job: job.created_at or answers.EPOCH, default=None)

    def models(self) -> Offer:
        """Ask which models of the catalogue are there still, and until when."""
        with self._mapped(lists.ACT):
            rows = answers.items(self._calls.models.with_raw_response.list(), act=lists.ACT)
        source = f"{str(self._calls.base_url).rstrip('/')}/models"
        return lists.offer(rows, known=catalog.load(self.name).models, source=source)

    def generator(self, *, base: str, tuned: TunedModel | None) -> ChatGenerator:
        """Open the tuned model, or the base alone when `tuned` is None."""
        return ChatGenerator(self, tuned.name if tuned is not None else base)

    def complete(self, model: str, chat: Sequence[ChatMessage], *, max_new_tokens: int) -> str:
        """Ask a model once, greedily; a refusal to answer is an empty answer."""
        with self._mapped("chat"):
            answer = self._calls.chat.completions.with_raw_response.create(
                model=model,
                messages=[dict(message) for message in chat],
                temperature=0,
                max_completion_tokens=max_new_tokens,
            )
            return answers.content(answer, act="chat")

    def _uploaded(self, name: str, *, size: int) -> str | None:
        with self._mapped("files"):
            page = self._calls.files.with_raw_response.list(purpose=PURPOSE, order="desc", limit=PAGE)
            same = [f for f in answers.items(page, act="files") if f.get("filename") == name]
            usable = (f for f in same if f.get("bytes") == size and f.get("status") not in UNUSABLE)
            return next((answers.id_of(file, act="files") for file in usable), None)

    def _mapped(self, act: str) -> AbstractContextManager[None]:
        return mapped(self.name, act, secret=self._key)

    @cached_property
    def _key(self) -> str:
        return sendable_key(self._profile.key(), provider=self.name)

    @property
    def _jobs(self) -> Any:
        # raw, because the SDK makes a job of any JSON, and fails in its own ways on what is no list
        return self._calls.fine_tuning.jobs.with_raw_response

    @cached_property
    def _calls(self) -> Any:
        return self._client(self._profile.timeout)

    @cached_property
    def _uploads(self) -> Any:
        return self._client(self._profile.upload_timeout)

    def _client(self, seconds: float) -> Any:
        try:
            import httpx2
            import openai
        except ImportError as error:
            raise MissingExtraError(needs="openai", extra="openai") from error
        http = bounded_client(httpx2, seconds=seconds)
        http.event_hooks = {"request": [self._pin]}
        # Every address is given here, so that OPENAI_BASE_URL has no say. OPENAI_ORG_ID and OPENAI_PROJECT_ID are
        # left to the SDK: they choose whose bill a call goes on, not where it goes.
        return openai.OpenAI(
            api_key=self._key,
            base_url=self._profile.base_url or catalog.load(self.name).base_url,
            max_retries=0,
            timeout=http.timeout,
            http_client=http,
        )

    def _pin(self, request: Any) -> None:
        """Undo what OPENAI_CUSTOM_HEADERS may say of the two headers by which a gateway chooses where to send."""
        request.headers["Host"] = request.url.netloc.decode("ascii")
        request.headers["Authorization"] = f"Bearer {self._key}"


@dataclass(frozen=True)
class ChatGenerator:
    """Ask one model, one chat at a time."""

    provider: OpenAIProvider = field(repr=False)
    model: str

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one greedy answer a chat, in order."""
        for chat in chats:
            yield self.provider.complete(self.model, chat, max_new_tokens=max_new_tokens)

    def close(self) -> None:
        """Hold nothing: each call has a connection of its own."""
