"""The user's and the project's settings, and where keys are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from anytune.config import address
from anytune.config.document import Document, merge, validated
from anytune.config.place import expanded, places
from anytune.errors import CredentialError, UsageError
from anytune.schema.base import Value
from anytune.schema.plan import Policy
from anytune.schema.trainer import Trainer

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
PERSONAL = {"key_variable", "region", "account", "flavor", "hours"}  # what only the user may say of a provider


class ProfileSettings(Value):
    """Say how a provider is reached; `key_variable` names the environment variable that holds the key.

    `region` is where its jobs run and `account` whose they are, as the provider writes them, where it wants to know;
    `tier` is its price class. `like` makes a provider of a server of one's own that speaks as that provider does.
    `trainers` names the inputs of trainers that the catalogue does not list (Replicate), by owner/name. Where whole
    machines are rented, `flavor` is which one, and a job is ended after `hours`.
    """

    base_url: str | None = None
    region: str | None = None
    account: str | None = None
    tier: str | None = None
    like: str | None = None
    flavor: str | None = None
    hours: Annotated[float, Field(gt=0, le=720, allow_inf_nan=False)] | None = None
    key_variable: str | None = None
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    trainers: dict[str, Trainer] = {}


class CheckSettings(Value):
    """Say which rules of the data check to pass over, by their codes."""

    ignore: tuple[str, ...] = ()


class NotifySettings(Value):
    """Say who is told when a job has ended: a command, which gets the job's document on stdin, and a webhook's address.

    What is sent to the webhook is signed with the secret in the environment variable `secret_variable`.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may be as good as a key

    command: tuple[str, ...] = ()
    webhook: str | None = None
    secret_variable: str | None = None

    @field_validator("webhook")
    @classmethod
    def _protected(cls, webhook: str | None) -> str | None:
        at = urlsplit(webhook or "https://")
        if at.scheme != "https" and not (at.scheme == "http" and at.hostname in LOOPBACK):
            raise ValueError("it should be an https address, or one of this machine")
        return webhook

    @property
    def wanted(self) -> bool:
        """Tell whether anybody is to be told."""
        return bool(self.command or self.webhook)


class Settings(Value):
    """Hold the user's and the project's settings, the project's above the user's.

    `store` is the address of a database that holds the jobs in place of a file under `home`, without a password.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # an address that is refused may hold a password

    home: Path
    store: str | None = None
    profiles: dict[str, ProfileSettings] = {}
    policy: Policy = Policy()
    check: CheckSettings = CheckSettings()
    notify: NotifySettings = NotifySettings()

    @field_validator("store")
    @classmethod
    def _without_password(cls, store: str | None) -> str | None:
        if store is not None and (found := address.fault(store)):
            raise ValueError(found.message)
        return store


def load_settings(*, folder: Path, environment: Mapping[str, str]) -> Settings:
    """Merge the user's `config.yaml` and the nearest `anytune.yaml` at or above `folder`.

    A project comes with a checkout and may be a stranger's. So its policy can only be stricter than the user's, it
    cannot say in which variable a key is found, which account pays, for which machine, which region a host is in,
    where jobs are recorded, or what is run and called when one ends, and with its own base_url the user's word on the
    region no longer holds. `ANYTUNE_HOME` says where jobs are kept; otherwise `$XDG_DATA_HOME/anytune` or
    `~/.local/share/anytune`.
    """
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    home = expanded(environment.get("ANYTUNE_HOME") or f"{data}/anytune").absolute()
    found = places(folder=folder, environment=environment)
    merged: dict[str, Any] = {"home": str(home)}
    policy = Policy()
    for path in found.written:
        document = Document(path, may_be_empty=True)
        told = _told(document, home, foreign=path is found.project, own=found.users)
        merged, policy = merge(_without_regions(merged, told), document.data), policy.and_also(told.policy)
    return Settings.model_validate({**merged, "policy": policy})


def _told(document: Document, home: Path, *, foreign: bool, own: Path) -> Settings:
    if "home" in document.data:
        raise UsageError(f"{document.place(['home'])}: unknown key 'home'", fix="set ANYTUNE_HOME instead")
    _look_at_store(document, foreign=foreign, own=own)
    if foreign and "notify" in document.data:
        raise UsageError(f"{document.place(['notify'])}: a project cannot set notify", fix=f"set it in {own}")
    told: Settings = validated(Settings, {"home": str(home), **document.data}, document)
    for name, profile in told.profiles.items():
        for key in PERSONAL & profile.model_fields_set if foreign else ():
            place = document.place(["profiles", name, key])
            raise UsageError(f"{place}: a project cannot set profiles.{name}.{key}", fix=f"set it in {own}")
    return told


def _look_at_store(document: Document, *, foreign: bool, own: Path) -> None:
    """Refuse an address before anything shows it."""
    store, place = document.data.get("store"), document.place(["store"])
    if foreign and store is not None:
        raise UsageError(f"{place}: a project cannot set store", fix=f"set it in {own}")
    if isinstance(store, str) and (found := address.fault(store)):
        raise UsageError(f"{place}: store: {found.message}", fix=found.fix)


def _without_regions(merged: dict[str, Any], told: Settings) -> dict[str, Any]:
    """Forget the region of each provider that is now reached under another address."""
    moved = {name: {"region": None} for name, profile in told.profiles.items() if profile.base_url is not None}
    return merge(merged, {"profiles": moved}) if moved else merged


def key_source(provider: str, variable: str | None, environment: Mapping[str, str]) -> Callable[[], str]:
    """Return the function that reads a provider's key when it is first needed."""

    def key() -> str:
        if variable is None:
            return ""
        value = environment.get(variable, "").strip()
        if not value:
            raise CredentialError(f"{provider} needs a key: {variable} is not set", fix=f"export {variable}=…")
        return value

    return key
