"""The user's and the project's settings, and where keys are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from anytune.config.document import Document, merge, validated
from anytune.config.place import expanded, places
from anytune.errors import CredentialError, UsageError
from anytune.schema.base import Value
from anytune.schema.plan import Policy
from anytune.schema.trainer import Trainer

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


class Settings(Value):
    """Hold the user's and the project's settings, the project's above the user's.

    `keyless` are the providers whose address a project chose, and not the user: no key goes there.
    """

    home: Path
    keyless: tuple[str, ...] = ()
    profiles: dict[str, ProfileSettings] = {}
    policy: Policy = Policy()
    check: CheckSettings = CheckSettings()


def load_settings(*, folder: Path, environment: Mapping[str, str]) -> Settings:
    """Merge the user's `config.yaml` and the nearest `anytune.yaml` at or above `folder`.

    A project comes with a checkout and may be a stranger's. So its policy can only be stricter than the user's, it
    cannot say in which variable a key is found, which account pays, for which machine, or which region a host is in,
    and with its own base_url the user's word on the region no longer holds, nor does a key of theirs go there.
    `ANYTUNE_HOME` says where jobs are kept; otherwise `$XDG_DATA_HOME/anytune` or `~/.local/share/anytune`.
    """
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    home = expanded(environment.get("ANYTUNE_HOME") or f"{data}/anytune").absolute()
    found = places(folder=folder, environment=environment)
    merged: dict[str, Any] = {"home": str(home)}
    policy, keyless = Policy(), tuple[str, ...]()
    for path in found.written:
        document = Document(path, may_be_empty=True)
        told = _told(document, home, foreign=path is found.project, own=found.users)
        keyless = _sent_elsewhere(merged, told) if path is found.project else keyless
        merged, policy = merge(_without_regions(merged, told), document.data), policy.and_also(told.policy)
    return Settings.model_validate({**merged, "policy": policy, "keyless": keyless})


def _told(document: Document, home: Path, *, foreign: bool, own: Path) -> Settings:
    if "home" in document.data:
        raise UsageError(f"{document.place(['home'])}: unknown key 'home'", fix="set ANYTUNE_HOME instead")
    if "keyless" in document.data:
        raise UsageError(f"{document.place(['keyless'])}: unknown key 'keyless'")
    told: Settings = validated(Settings, {"home": str(home), **document.data}, document)
    for name, profile in told.profiles.items():
        for key in PERSONAL & profile.model_fields_set if foreign else ():
            place = document.place(["profiles", name, key])
            raise UsageError(f"{place}: a project cannot set profiles.{name}.{key}", fix=f"set it in {own}")
    return told


def _without_regions(merged: dict[str, Any], told: Settings) -> dict[str, Any]:
    """Forget the region of each provider that is now reached under another address."""
    said = (name for name, profile in told.profiles.items() if "base_url" in profile.model_fields_set)
    moved = {name: {"region": None} for name in said}
    return merge(merged, {"profiles": moved}) if moved else merged


def _sent_elsewhere(users: dict[str, Any], project: Settings) -> tuple[str, ...]:
    """Name the providers that a project sends to an address that is neither the user's own word nor on this machine."""
    own = users.get("profiles", {})
    stated = {name: told.base_url for name, told in project.profiles.items() if "base_url" in told.model_fields_set}
    return tuple(
        name
        for name, address in stated.items()
        if address != own.get(name, {}).get("base_url") and not (address and _is_here(address))
    )


def _is_here(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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
