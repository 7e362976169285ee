"""The user's and the project's settings."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from anytune.config import address
from anytune.config.document import Document, merge, validated
from anytune.config.place import expanded, places
from anytune.errors import UsageError
from anytune.schema.base import Value
from anytune.schema.catalog import Layer
from anytune.schema.cluster import Cluster, Processes, Shard
from anytune.schema.money import Usd
from anytune.schema.plan import Policy
from anytune.schema.trainer import Trainer

NOT_IN_FILES = {
    "home": "set ANYTUNE_HOME instead",
    "project_catalog": "write catalog instead",
    "project_budget": "write budget instead",
    "keyless": "it follows from who says base_url",
}
LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*|\*\.{LABEL}(\.{LABEL})+")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
APART = {"catalog", "budget"}  # what a project says beside the user, and not above them
PERSONAL = {
    "key_variable",
    "region",
    "account",
    "flavor",
    "hours",
    "storage",
    "cluster",
    "machines",
}  # what only the user may say of a provider


def _is_host(name: str) -> str:
    if HOST.fullmatch(name) is None:
        raise ValueError("it should be the name of a host, such as files.example.com or *.example.com")
    return name


HostName = Annotated[str, AfterValidator(str.lower), AfterValidator(_is_host)]
HostPattern = Annotated[str, AfterValidator(str.lower), Field(min_length=1)]  # node*, 10.1.*


class ProfileSettings(Value):
    """Say how a provider is reached; `key_variable` names its key, as the environment variable is called.

    `region` is where its jobs run and `account` whose they are, as the provider writes them, where it wants to know;
    `tier` is its price class. `like` makes a provider of a server of one's own that speaks as that provider does.
    `trainers` names the inputs of trainers that the catalogue does not list (Replicate), by owner/name. `storage` are
    hosts to which the provider may send us for files beside those of the catalogue; `*.` stands for all below. Where
    whole machines are rented, `flavor` is which one, and a job is ended after `hours`; `cluster` says how jobs run on
    one of the user's own, `processes` how many train a local run together (`auto`: one on each GPU), and `shard`
    whether its frozen base is dealt out over them (`auto`: where it does not fit otherwise); `machines` are others that
    may train on data of `residency: local`, as patterns of names. `rate` is how many calls a second all processes
    together make at most.
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
    rate: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    trainers: dict[str, Trainer] = {}
    cluster: Cluster | None = None
    processes: Processes = 1
    shard: Shard = "auto"
    machines: tuple[HostPattern, ...] = ()
    storage: tuple[HostName, ...] = ()


class CheckSettings(Value):
    """Say which rules of the data check to pass over, by their codes."""

    ignore: tuple[str, ...] = ()


class BudgetSettings(Value):
    """Bound what all jobs of a calendar month (of UTC) may cost together; what one may cost is `policy.budget_usd`."""

    month: Usd | None = None


class NotifySettings(Value):
    """Say who is told when a job has ended or costs more than expected: a command, which gets the job's document on
    stdin, a webhook's address, and the desktop.

    What is sent to the webhook is signed with the secret that `secret_variable` names, as keys are named.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may be as good as a key

    command: tuple[str, ...] = ()
    desktop: bool = False
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
    def ways(self) -> tuple[str, ...]:
        """Name the ways by which somebody is to be told."""
        named = {"command": self.command, "webhook": self.webhook, "desktop": self.desktop}
        return tuple(way for way, said in named.items() if said)


class Settings(Value):
    """Hold the user's and the project's settings, the project's above the user's.

    `store` is the address of a database that holds the jobs in place of a file under `home`, without a password.
    `catalog` is what the user says above the shipped catalogue, by provider, and `project_catalog` what the project
    says there. `budget` is the user's own, for all that they order, and `project_budget` that of the `project`, whoever
    orders; a project is called as its file says, or else as the folder that this lies in. `keyless` are the providers
    whose address a project chose, and not the user: no key goes there.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # an address that is refused may hold a password

    home: Path
    store: str | None = None
    catalog: dict[str, Layer] = {}
    project_catalog: dict[str, Layer] = {}
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    budget: BudgetSettings = BudgetSettings()
    project_budget: BudgetSettings = BudgetSettings()
    keyless: tuple[str, ...] = ()
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


def home_of(environment: Mapping[str, str]) -> Path:
    """Return where jobs are kept: `ANYTUNE_HOME`, otherwise `$XDG_DATA_HOME/anytune` or `~/.local/share/anytune`."""
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return expanded(environment.get("ANYTUNE_HOME") or f"{data}/anytune").absolute()


def load_settings(*, folder: Path, environment: Mapping[str, str]) -> Settings:
    """Merge the user's `config.yaml` and the nearest `anytune.yaml` at or above `folder`.

    A project comes with a checkout and may be a stranger's. So its policy can only be stricter than the user's, it
    cannot say in which variable a key is found, which account pays, for which machine, which region a host is in,
    which host may keep data, where jobs are recorded, or what is run and called when one ends, and with its own
    base_url the user's word on the region no longer holds, nor does a key of theirs go there; what it says under
    `catalog` is kept apart, too, and its budget of a month counts beside the user's own.
    """
    home = home_of(environment)
    found = places(folder=folder, environment=environment)
    merged: dict[str, Any] = {"home": str(home)}
    policy, keyless = Policy(), tuple[str, ...]()
    for path in found.written:
        document = Document(path, may_be_empty=True)
        told = _told(document, home, foreign=path is found.project, own=found.users)
        keyless = _sent_elsewhere(merged, told) if path is found.project else keyless
        above = _apart(document.data, folder=path.parent) if path is found.project else document.data
        merged, policy = merge(_without_regions(merged, told), above), policy.and_also(told.policy)
    return Settings.model_validate({**merged, "policy": policy, "keyless": keyless})


def _told(document: Document, home: Path, *, foreign: bool, own: Path) -> Settings:
    for name in document.data.keys() & NOT_IN_FILES.keys():
        raise UsageError(f"{document.place([name])}: unknown key {name!r}", fix=NOT_IN_FILES[name])
    _look_at_store(document, foreign=foreign, own=own)
    if foreign and "notify" in document.data:
        raise UsageError(f"{document.place(['notify'])}: a project cannot set notify", fix=f"set it in {own}")
    if not foreign and "project" in document.data:
        raise UsageError(f"{document.place(['project'])}: it names one project", fix="set it in its anytune.yaml")
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


def _apart(data: dict[str, Any], *, folder: Path) -> dict[str, Any]:
    """Keep what a project says of prices and budgets apart from what the user says: it may be a stranger's."""
    named = {name: f"project_{name}" if name in APART else name for name in data}
    return {"project": folder.name[:64] or "root", **{named[name]: told for name, told in data.items()}}


def _without_regions(merged: dict[str, Any], told: Settings) -> dict[str, Any]:
    """Forget the region of each provider that is now reached under another address."""
    moved = {name: {"region": None} for name in _stated(told)}
    return merge(merged, {"profiles": moved}) if moved else merged


def _sent_elsewhere(users: dict[str, Any], project: Settings) -> tuple[str, ...]:
    """Name the providers that a project sends to an address that is neither the user's own word nor on this machine."""
    own = users.get("profiles", {})
    return tuple(
        name
        for name, url in _stated(project).items()
        if url != own.get(name, {}).get("base_url") and not (url and is_here(url))
    )


def _stated(told: Settings) -> dict[str, str | None]:
    """Return what is said of addresses, by provider; null takes one away."""
    profiles = told.profiles.items()
    return {name: profile.base_url for name, profile in profiles if "base_url" in profile.model_fields_set}


def is_here(url: str) -> bool:
    """Tell whether an address is one of this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
