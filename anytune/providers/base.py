"""The contract of a provider: it translates, and nothing else.

A provider never polls, retries, prints, sleeps, remembers, or reads the environment at import. Clients are made at
first use, so that `capabilities` and `render` work offline, without a key and without the SDK. Each call ends in one
of six ways: it returns, or it raises `UnavailableError`, `RateLimitedError`, `AmbiguousError`, `RejectedError` (or one
below it), or `KeyRefusedError`. `anytune.testing.ProviderContract` says the rest, as tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from anytune.schema.catalog import Offer
from anytune.schema.data import DataFile, DataReport
from anytune.schema.job import Event, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities, ResourceEstimate
from anytune.schema.spec import TuneSpec
from anytune.schema.trainer import Trainer

ChatMessage = Mapping[str, Any]


@dataclass(frozen=True)
class Profile:
    """Say how to reach a provider: the user's settings for it, and where a key is found when one is needed.

    `key` returns the key or raises `CredentialError` naming the variable; it is called at first use of the network.
    `home` is anytune's folder, for providers that run on this machine. `timeout` bounds one call, in seconds.
    `account` is whose jobs they are, where a provider's addresses name it and a key may serve several. `tier` is a
    price class of the provider's; `like` names the built-in provider whose dialect a server of the user's own speaks.
    `trainers` are the user's own words on the inputs of trainers. `storage` are hosts that may keep files for the
    provider beside those of the catalogue. `flavor` and `hours` are for providers that rent out
    whole machines: which one, and after how long a job is ended.
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
    timeout: float = 120.0
    upload_timeout: float = 3600.0


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

    def generator(self, *, base: str, tuned: TunedModel | None) -> Generator:
        """Open the tuned model, or the base alone when `tuned` is None."""
        ...


@runtime_checkable
class Exports(Protocol):
    """Be a provider that can hand the weights out."""

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Write the model as `adapter` or `merged` into `out` and return its manifest."""
        ...


@runtime_checkable
class Resumes(Protocol):
    """Be a provider whose interrupted job can be taken up where its last checkpoint stands."""

    def resume(self, remote_id: str) -> RemoteJob:
        """Go on from the newest whole checkpoint; harmless on a job that runs."""
        ...


@runtime_checkable
class DeletesFiles(Protocol):
    """Be a provider that can be told to forget a file."""

    def delete_file(self, file_id: str) -> None:
        """Remove a file that was uploaded; harmless when it is gone already."""
        ...
