"""What is known of each provider's models: shipped, listed by the provider itself, and said in the settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from anytune import catalog, listing, providers
from anytune.config import Settings, nearest
from anytune.errors import UsageError
from anytune.schema.catalog import Catalog, Listing
from anytune.schema.plan import Capabilities


class Offers:
    """Lay for each provider one over the other what is known of it, once."""

    def __init__(self, settings: Settings, *, today: Callable[[], date]) -> None:
        """Raise `UsageError` where the settings speak of a provider that nobody knows: a slip would go unseen."""
        self._settings = settings
        self._today = today
        self._known: dict[str, Catalog | None] = {}
        for name in {**settings.catalog, **settings.project_catalog}:
            known = (*providers.names(), *settings.profiles)
            if name not in known:
                unknown = UsageError(f"catalog.{name}: no provider is called {name!r}", fix=nearest(name, known))
                raise providers.gone(name) or unknown

    def all(self) -> list[Catalog]:
        """Return what is known, for each provider of which anything is."""
        names = dict.fromkeys((*providers.names(), *self._settings.catalog, *self._settings.project_catalog))
        return [found for name in names if (found := self.of(name)) is not None]

    def of(self, name: str) -> Catalog | None:
        """Return what is known of a provider, None where there is no catalogue and nobody said anything."""
        if name not in self._known:
            self._known[name] = self._laid(name)
        return self._known[name]

    def amended(self, capabilities: Capabilities) -> Capabilities:
        """Return what a provider says of itself with what was said above it."""
        laid = self.of(capabilities.provider)
        return catalog.amended(capabilities, laid) if laid is not None else capabilities

    def keep(self, told: Listing) -> None:
        """Keep what a provider said of its models, for this process and later ones."""
        listing.write(self._settings.home, told)
        self._known.pop(told.provider, None)

    def _laid(self, name: str) -> Catalog | None:
        own, projects = self._settings.catalog, self._settings.project_catalog
        layers = [(said[name], foreign) for said, foreign in ((own, False), (projects, True)) if name in said]
        its_list = listing.read(self._settings.home, name)
        try:
            shipped = catalog.load(name)
        except UsageError:
            if not layers and its_list is None:
                return None
            shipped = catalog.empty(name, as_of=its_list.as_of if its_list is not None else self._today())
        if its_list is not None and not self._is_of_the_same_host(its_list, shipped):
            its_list = None
        return catalog.laid(shipped, listing=its_list, layers=layers, today=self._today())

    def _is_of_the_same_host(self, told: Listing, shipped: Catalog) -> bool:
        """Tell whether a list came from where jobs would go now: a profile of another project may lead elsewhere."""
        profile = self._settings.profiles.get(told.provider)
        address = (profile.base_url if profile is not None else None) or shipped.base_url
        return address is None or urlsplit(address).netloc == urlsplit(told.offer.source).netloc
