"""How each provider is reached with the settings that hold: its name, its key, its address, and where data go there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anytune import catalog, config, policy, providers
from anytune.clock import Clock, SystemClock
from anytune.config import ProfileSettings, Settings
from anytune.data import check as data_check
from anytune.errors import CredentialError, UsageError
from anytune.offers import Offers
from anytune.providers.base import Gate, Profile, Provider
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec

if TYPE_CHECKING:
    from anytune.store import Rates


class _Gate:
    """Be a gate that is made when the first call comes to it: a plan makes none."""

    def __init__(self, make: Callable[[], Gate]) -> None:
        self._make = cache(make)

    def before(self) -> None:
        self._make().before()

    def after(self, status: int, headers: Mapping[str, str]) -> None:
        self._make().after(status, headers)


class Reach:
    """Hold the providers that can be named; each is made once, when it is first asked for."""

    def __init__(
        self, settings: Settings, *, offers: Offers, environment: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._offers = offers
        self._environment = environment
        self.keys = config.Keys(settings.home, environment)
        self._made: dict[str, Provider] = {}

    def names(self) -> tuple[str, ...]:
        """List every provider that can be named: those of anytune and its plug-ins, and the servers of one's own."""
        known = providers.names()
        return (*known, *(n for n, profile in self._settings.profiles.items() if profile.like and n not in known))

    def kind(self, name: str) -> str:
        """Return the provider whose ways a name goes: its own, or those that its profile is like."""
        return self._said_of(name).like or name

    def judges(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return whose rules hold for data that go to these; raise `UsageError` for a name that no provider has."""
        for name in names:
            if name not in data_check.COLUMNS:
                self.provider(name)
        return tuple(dict.fromkeys(self.kind(name) for name in names))

    def provider(self, name: str) -> Provider:
        """Return the provider of that name; raise `UsageError` when there is none."""
        if name not in self._made:
            self._made[name] = providers.load(name, self.profile(name))
        return self._made[name]

    def profile(self, name: str) -> Profile:
        """Return how a provider is reached: the user's profile above the catalogue's defaults."""
        said, variable = self._said_of(name), self.key_variable(name)
        key = config.key_source(name, variable, self.keys)
        return Profile(
            name=name,
            home=self._settings.home,
            key=partial(self._no_key, name) if variable and name in self._settings.keyless else key,
            base_url=said.base_url,
            region=said.region,
            account=said.account or self._account(name),
            wandb_key=self._wandb_key(name),
            hidden=partial(self._hidden, name),
            tier=said.tier,
            like=said.like,
            flavor=said.flavor,
            hours=said.hours,
            cluster=said.cluster,
            processes=said.processes,
            shard=said.shard,
            machines=said.machines,
            timeout=said.timeout,
            trainers=said.trainers,
            gate=_Gate(partial(self._bucket, name, key)) if self._is_far(name) else None,
            storage=said.storage,
        )

    @cached_property
    def _rates(self) -> Rates:
        from anytune.store import open_rates

        return open_rates(self._settings.home, address=self._settings.store)

    def _is_far(self, name: str) -> bool:
        """Tell whether calls are held back: by a rate that its profile says, or because it is no server here."""
        said = self._said_of(name)
        return said.rate is not None or not (name == "local" or config.is_here(said.base_url or ""))

    def _bucket(self, name: str, key: Callable[[], str]) -> Gate:
        """Return what holds calls back: to as many a second as its profile says, else as a hosted provider gets."""
        from anytune import jobs

        rate = self._said_of(name).rate or jobs.RATE
        return jobs.Bucket(self._rates, name, rate=rate, key=key, clock=self._clock)

    def _wandb_key(self, name: str) -> Callable[[], str]:
        """Return the key of Weights & Biases, where the provider takes it along: it goes where its own key does."""
        if name in self._settings.keyless:
            return partial(self._no_key, name)
        return config.key_source("Weights & Biases", self._wandb_variable(name), self.keys)

    def _hidden(self, name: str) -> tuple[str, ...]:
        """Return the keys beside its own that a provider may have been given, with this job or an earlier one."""
        variable = self._wandb_variable(name)
        known = self.keys.known(variable) if variable else None
        return (known,) if known else ()

    def _wandb_variable(self, name: str) -> str | None:
        with suppress(UsageError):
            return catalog.load(self.kind(name)).wandb_key
        return None

    def _no_key(self, name: str) -> str:
        where = _host(self._said_of(name).base_url or "") or "at the provider's own address"
        raise CredentialError(
            f"{name}: the project, not you, says where it is ({where}): no key goes there",
            fix=f"if you trust it, set profiles.{name}.base_url in your own config.yaml, too",
        )

    def key_variable(self, name: str) -> str | None:
        """Return what a provider's key is called, as an environment variable or elsewhere; None when it needs none.

        A server of one's own gets the key that its profile names, and no other provider's.
        """
        said = self._said_of(name)
        if said.key_variable or (said.like and said.base_url):
            return said.key_variable
        try:
            name = said.like or name
            return catalog.load(name).key
        except UsageError:
            return f"{name.upper().replace('-', '_')}_API_KEY"

    def require_keys(self, spec: TuneSpec) -> None:
        """Raise `CredentialError` where a job needs a key that is not there: its provider's, or one that goes along."""
        profile, known = self.profile(spec.provider), self._offers.of(self.kind(spec.provider))
        if known is not None and known.key:
            profile.key()
        if spec.integrations and self._wandb_variable(spec.provider):
            profile.wandb_key()

    def capabilities(self, name: str, model: str) -> Capabilities:
        """Describe what a provider does with a base model, and where, as its profile has it: offline, without a key."""
        return self.placed(self._offers.amended(self.provider(name).capabilities(model)))

    def placed(self, capabilities: Capabilities) -> Capabilities:
        """Return what a provider says of itself with the places that hold for the profile as it is now."""
        said = self._said_of(capabilities.provider)
        known = self._offers.of(self.kind(capabilities.provider))
        own = known.base_url if known is not None else None
        moves = known is None or known.address is None  # an address that only the user can know is no other host
        return policy.placed(
            capabilities,
            host=_host(said.base_url) if said.base_url and moves else None,
            own_host=_host(own) if own else None,
            stated=said.region,
        )

    def _said_of(self, name: str) -> ProfileSettings:
        return self._settings.profiles.get(name, ProfileSettings())

    def _account(self, name: str) -> str | None:
        with suppress(UsageError):
            return self._environment.get(catalog.load(name).account or "", "").strip() or None
        return None


def _host(address: str) -> str:
    """Return the host and port of an address, without a name and password before them."""
    return urlsplit(address).netloc.rpartition("@")[2]
