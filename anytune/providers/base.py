"""The contract of a provider: it translates, and nothing else.

A provider never polls, retries, prints, sleeps, remembers, or reads the environment at import. Clients are made at
first use, so that `capabilities` and `render` work offline, without a key and without the SDK. Each call ends in one
of six ways: it returns, or it raises `UnavailableError`, `RateLimitedError`, `AmbiguousError`, `RejectedError` (or one
below it), or `KeyRefusedError`. `anytune.testing.ProviderContract` says the rest, as tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from anytune.errors import CredentialError
from anytune.schema.catalog import Offer
from anytune.schema.cluster import Cluster, Processes, Shard
from anytune.schema.data import DataFile, DataReport
from anytune.schema.job import Event, RemoteJob, Sending
from anytune.schema.model import Checkpoint, TunedModel
from anytune.schema.plan import Capabilities, ResourceEstimate
from anytune.schema.spec import TuneSpec
from anytune.schema.trainer import Trainer

ChatMessage = Mapping[str, Any]


class Gate(Protocol):
    """Be what each call to a provider's API passes: it may hold the call back, and hears how it was answered."""

    def before(self) -> None:
        """Let a call go out, now or in a while; raise `RateLimitedError` where it may not for long."""
        ...

    def after(self, status: int, headers: Mapping[str, str]) -> None:
        """Hear the HTTP status and headers of an answer."""
        ...


def _no_wandb_key() -> str:
    raise CredentialError("Weights & Biases needs a key", fix="export WANDB_API_KEY=…")


@dataclass(frozen=True)
class Profile:
    """Say how to reach a provider: the user's settings for it, and where a key is found when one is needed.

    `key` returns the key or raises `CredentialError` naming the variable; it is called at first use of the network.
    `home` is anytune's folder, for providers that run on this machine. `timeout` bounds one call, in seconds. `account`
    is whose jobs they are, where a provider's addresses name it and a key may serve several. `tier` is a price class of
    the provider's; `like` names the built-in provider whose dialect a server of the user's own speaks. `trainers` are
    the user's own words on the inputs of trainers. `storage` are hosts that may keep files for the provider beside
    those of the catalogue. `flavor` and `hours` are for providers that rent out whole machines: which one, and after
    how long a job is ended; `cluster` is how jobs run on one of the user's own, `processes` how many train a run here,
    `shard` whether its frozen base is dealt out over them, and `machines` which others may have data that stay here.
    `gate` is passed by each call to the provider's API, and by none to a storage host. `wandb_key` is like `key`, for a
    provider that reports jobs to Weights & Biases and takes the key of it with each. `hidden` are keys beside `key`
    that may come back in what a provider says, and are not to be shown.
    """

    name: str
    home: Path
    key: Callable[[], str] = field(repr=False)
    base_url: str | None = None
    region: str | None = None
    account: str | None = None
    tier: str | None = None
    like: str | None = None
    trainers: Mapping[str, Trainer] = field(default_factory=dict)
    storage: tuple[str, ...] = ()
    flavor: str | None = None
    hours: float | None = None
    cluster: Cluster | None = None
    processes: Processes = 1
    shard: Shard = "auto"
    machines: tuple[str, ...] = ()
    wandb_key: Callable[[], str] = field(default=_no_wandb_key, repr=False)
    hidden: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)
    timeout: float = 120.0
    upload_timeout: float = 3600.0
    gate: Gate | None = None


class Reused(str):
    """Be the id of a file whose bytes were at the provider before: whoever sent them, they are not ours to remove."""

    __slots__ = ()


class Provider(Protocol):
    """Translate between anytune's values and one provider's API."""

    name: str

    def capabilities(self, model: str) -> Capabilities:
        """Describe what can be done with this base model, offline and without a key."""
        ...

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Translate the spec into the very body that `create` sends; pure."""
        ...

    def upload(self, file: DataFile) -> str:
        """Send one file and return the provider's id of it, as `Reused` where its bytes were there already."""
        ...

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start the job; the engine calls it at most once a job unless `find` saw nothing."""
        ...

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Ask how the job stands."""
        ...

    def events(self, remote_id: str) -> list[Event]:
        """List all events, oldest first."""
        ...

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop the job; harmless on one that has ended."""
        ...

    def find(self, job_id: str) -> RemoteJob | None:
        """Find the remote job that carries our job id; None only when the provider surely has none."""
        ...


@runtime_checkable
class Estimates(Protocol):
    """Be a provider that can foretell time and memory, offline."""

    def estimate(self, spec: TuneSpec, data: DataReport) -> ResourceEstimate | None:
        """Estimate a run on this machine; None when the model's configuration is not at hand."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """Be a provider that can foretell time and memory for machines that are named, and by more than arithmetic."""

    def foresee(
        self, spec: TuneSpec, data: DataReport, *, gpus: Sequence[str], exact: bool
    ) -> tuple[ResourceEstimate | None, ...]:
        """Estimate a run on this machine and on each named GPU, in this order; None as for `Estimates`.

        `exact` has one step of the real model measured, without its weights. Raises `UsageError` for an unheard-of GPU.
        """
        ...


@runtime_checkable
class Sweeps(Protocol):
    """Be a provider that tells how many jobs stand by listing them, in far fewer calls than by asking for each."""

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Return those of these jobs that the list shows, by the id asked for, each as `retrieve` would tell it.

        A job that is not in the list is left out: that it exists or not is for `retrieve` to say. `since` is when the
        provider says that the oldest of them was made: what is older need not be walked through.
        """
        ...


@runtime_checkable
class Measures(Protocol):
    """Be a provider whose jobs come with their events, and that tells the figures of a run's steps apart from them."""

    def measured(self, remote_id: str, events: Sequence[Event]) -> list[Event]:
        """Return these, which are all events of the job, with the figures among them, as `events` would."""
        ...


@runtime_checkable
class TellsLater(Protocol):
    """Be a provider that need not tell all events of a job anew each time that it is asked for them."""

    def later_events(self, remote_id: str, known: Collection[str]) -> list[Event]:
        """Return the newest events, oldest first, down to where a whole page of them is `known` by their ids.

        One that comes late and stands further back is told by `events`, which is asked once the job has ended.
        """
        ...


@runtime_checkable
class Quotes(Protocol):
    """Be a provider that names an exact price before the job is made."""

    def quote(self, request: dict[str, Any]) -> Decimal | None:
        """Return the price of this very request in US dollars; None when the provider cannot tell."""
        ...


@runtime_checkable
class Lists(Protocol):
    """Be a provider that lists the base models which can be tuned."""

    def models(self) -> Offer:
        """Ask for the list."""
        ...


class Generator(Protocol):
    """Answer chats with one model until closed."""

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one greedy answer a chat, in order; a chat ends with the user's message."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@runtime_checkable
class Generates(Protocol):
    """Be a provider whose models can be asked."""

    def generator(self, *, base: str, tuned: TunedModel | None, beside: TunedModel | None = None) -> Generator:
        """Open the tuned model, or the base alone when `tuned` is None.

        `beside` is the tuned model with which the base alone is compared: it is opened as under that.
        """
        ...


class Endpoint(Protocol):
    """Answer the questions of many at once, piece by piece, until closed; `names` are the models that can be asked."""

    names: tuple[str, ...]

    def asked(self, question: Mapping[str, Any]) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """Ask; yields {"prompt": tokens}, {"text": …} often, and {"ended": stop|length, "tokens": …}."""
        ...

    async def start(self) -> None:
        """Open the models, if they are not."""
        ...

    async def close(self) -> None:
        """Free the models."""
        ...


@runtime_checkable
class Serves(Protocol):
    """Be a provider whose models can be asked by many at once, from here."""

    def endpoint(self, tuned: Mapping[str, TunedModel]) -> Endpoint:
        """Open tuned models of one base, by the names that they are to have, and the base itself."""
        ...


@runtime_checkable
class Exports(Protocol):
    """Be a provider that can hand the weights out."""

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Write the model as `adapter` or `merged` into `out` and return its manifest."""
        ...


@runtime_checkable
class Publishes(Protocol):
    """Be a provider in whose repositories exported models can lie."""

    def publish(self, folder: Path, files: Mapping[str, str], *, repository: str, public: bool) -> tuple[str, ...]:
        """Have the repository hold these files of a folder, by their SHA-256; return the names of those it had not.

        It is made where there is none, private unless `public`; one that others can read is refused unless `public`.
        """
        ...


@runtime_checkable
class Checkpoints(Protocol):
    """Be a provider that keeps models of the way there, which can be used as the last one can."""

    def checkpoints(self, remote_id: str) -> list[Checkpoint]:
        """List those that are kept, in the order of their steps; a job may run still, or have ended badly."""
        ...


@runtime_checkable
class Pauses(Protocol):
    """Be a provider whose running job can be halted and taken up later."""

    def pause(self, remote_id: str) -> RemoteJob:
        """Have the job halt; harmless on one that is halted or has ended. Raises `UsageError` where none can be."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """Be a provider whose interrupted job can be taken up where its last checkpoint stands."""

    def resume(self, remote_id: str) -> RemoteJob:
        """Go on from the newest whole checkpoint; harmless on a job that runs."""
        ...


@runtime_checkable
class ResumesUploads(Protocol):
    """Be a provider that sends large files in parts, and goes on with what an earlier call, or process, has sent."""

    def resume_upload(self, file: DataFile, *, begun: Sending | None, note: Callable[[Sending | None], None]) -> str:
        """Do as `upload` does; `begun` is what was noted last of this file, None if nothing was.

        `note` hears, in the thread that called, of each part that is there, before the parts are put together
        (`ending`), and None once the upload is of no more use.
        """
        ...


@runtime_checkable
class DeletesFiles(Protocol):
    """Be a provider that can be told to forget a file."""

    def delete_file(self, file_id: str) -> None:
        """Remove a file that was uploaded; harmless when it is gone already."""
        ...


@runtime_checkable
class QuotesResume(Protocol):
    """Be a provider that names the exact price of going on with a paused job."""

    def quote_resume(self, remote_id: str) -> Decimal | None:
        """Return what `resume` may cost in US dollars; None when the provider cannot tell."""
        ...
