"""Read `catalog/*.yaml`: what changes monthly (models, prices, limits, regions, dates), with its date and source.

What is said above it is laid over it here (`laid`): a provider's own list, and the user's and the project's settings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from anytune.errors import GoneError, UsageError
from anytune.schema.catalog import Catalog, Closed, Entry, Layer, Listing, Said, stated
from anytune.schema.plan import Capabilities, Price, Rule

__all__ = ["Catalog", "Closed", "Entry", "amended", "capabilities", "closed", "empty", "gone", "laid", "load"]

AS_SETTINGS_SAY = "as your settings say"
AS_PROJECT_SAYS = "as the project's settings say"
NEVER_LOWER = ("minimum", "usd_per_hour", "usd_per_kwh")  # by what came with a checkout
NO_SOURCE = "no catalogue"


@cache
def load(provider: str) -> Catalog:
    """Read one provider's catalogue; raise `UsageError` when there is none."""
    found = _read(provider)
    if found is None or provider == "closed":
        raise UsageError(f"there is no catalogue of {provider!r}")
    return Catalog.model_validate(found)


@cache
def closed() -> dict[str, Closed]:
    """Return those who take no jobs any more, by the name under which they are asked for."""
    return {name: Closed.model_validate(told) for name, told in (_read("closed") or {}).items()}


def gone(name: str, *, known: tuple[str, ...]) -> GoneError | None:
    """Return what to say to a provider that takes no jobs any more; None for one that is none of these.

    Of those who take such a job instead only the `known` ones are named.
    """
    asked = name.strip().lower().replace("_", "-").replace(" ", "-")
    if name in known:
        return None
    for word, told in closed().items():
        if asked in (word, *told.aliases):
            open_ones = [other for other in told.instead if other in known] or ["local"]
            message = (
                f"{told.name} is closed to new jobs since {told.since}: {told.why}; go to {_or(open_ones)} instead"
            )
            fix = f"--provider {open_ones[0]}; anytune models shows what each of them tunes"
            return GoneError(message, provider=name, fix=fix)
    return None


def _or(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _read(name: str) -> dict[str, Any] | None:
    path = files("anytune").joinpath("catalog", f"{name}.yaml")
    if not path.is_file():
        return None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return found


def capabilities(provider: str, model: str, *, settings: dict[str, Rule]) -> Capabilities:
    """Put together what the catalogue knows of a model with the provider's rules for settings."""
    return Capabilities(
        provider=provider, model=model, settings=settings, listed_as=model, **_facts(load(provider), model)
    )


def _facts(catalog: Catalog, model: str) -> dict[str, Any]:
    """Return what a catalogue says of a model, in the words of `Capabilities`."""
    entry = catalog.models.get(model)
    return {
        "known": entry is not None,
        "methods": entry.methods if entry else ("sft", "dpo"),
        "regions": catalog.regions,
        "region_note": catalog.region_note,
        "places": catalog.places,
        "hosts": catalog.hosts,
        "max_length": entry.max_length if entry else None,
        "min_examples": catalog.min_examples,
        "max_file_bytes": catalog.max_file_bytes,
        "accepts_jobs_until": (entry.closed if entry else None) or catalog.accepts_jobs_until,
        "model_shutdown": entry.shutdown if entry else None,
        "weights_downloadable": catalog.weights_downloadable,
        "price": _price(catalog, entry) if entry and entry.price else None,
        "hosting": catalog.hosting,
        "cancelling": catalog.cancelling,
        "usd_per_hour": catalog.usd_per_hour,
        "usd_per_kwh": catalog.usd_per_kwh,
        "similar": () if entry else tuple(difflib.get_close_matches(model, _tunable(catalog), n=3, cutoff=0.4)),
        "unlisted_on": catalog.listed_on if model in catalog.unlisted else None,
        "settings_source": catalog.settings_source,
        "billed_as": catalog.billed_as,
        "notes": catalog.notes,
        "as_of": (entry.as_of if entry else None) or catalog.as_of,
    }


def _tunable(catalog: Catalog) -> list[str]:
    return [name for name, entry in catalog.models.items() if entry.methods]


def _price(catalog: Catalog, entry: Entry) -> Price:
    full = catalog.full_factor
    dearer = {f"{method}-full": usd * full for method, usd in entry.price.items()} if full else {}
    return Price(
        per_million={**dearer, **entry.price},
        minimum=catalog.minimum if entry.minimum is None else entry.minimum,
        bills_validation=catalog.bills_validation,
        as_of=entry.priced_on or catalog.as_of,
        source=entry.priced_by or catalog.source,
        stated=entry.priced_by,
    )


def _listed(catalog: Catalog, listing: Listing) -> Catalog:
    """Lay a provider's own list over its catalogue; a list older than the catalogue says nothing."""
    if listing.as_of < catalog.as_of:
        return catalog
    offer = listing.offer
    models = _over(catalog.models, offer.models, as_of=listing.as_of, source=offer.source)
    absent = tuple(name for name in catalog.models if name not in offer.models) if offer.whole else ()
    return catalog.model_copy(update={"models": models, "listed_on": listing.as_of, "unlisted": absent})


def _said(catalog: Catalog, layer: Layer, *, today: date, foreign: bool = False) -> Catalog:
    """Lay the user's settings over a catalogue.

    `foreign` settings came with a checkout: a price that is known stays where theirs would be lower, so that a
    stranger's file cannot talk a budget away.
    """
    source = AS_PROJECT_SAYS if foreign else AS_SETTINGS_SAY
    models = _over(catalog.models, layer.models, as_of=today, source=source)
    changes = {name: value for name, value in stated(layer).items() if name in Catalog.model_fields}
    changed = catalog.model_copy(update={**changes, "models": models})
    return _not_cheaper(changed, catalog) if foreign else changed


def _over(below: Mapping[str, Entry], above: Mapping[str, Said], *, as_of: date, source: str) -> dict[str, Entry]:
    merged = dict(below)
    for name, told in above.items():
        known, changes = below.get(name, Entry()), stated(told)
        if "price" in changes:
            changes |= {"price": {**known.price, **told.price}, "priced_on": as_of, "priced_by": source}
        merged[name] = known.model_copy(update={**changes, "as_of": as_of, "source": source})
    return merged


def _not_cheaper(changed: Catalog, known: Catalog) -> Catalog:
    """Return the changed catalogue with each price and least charge that is known where the new one would be lower."""
    models = dict(changed.models)
    for name, entry in known.models.items():
        before, after = _price(known, entry), _price(changed, models[name])
        dearer = {way: max(usd, before.per_million.get(way, usd)) for way, usd in after.per_million.items()}
        update: dict[str, Any] = {"price": dearer, "minimum": max(before.minimum, after.minimum)}
        if dearer == before.per_million:
            update |= {"priced_on": entry.priced_on, "priced_by": entry.priced_by}
        models[name] = models[name].model_copy(update=update)
    figures = {name: (getattr(changed, name), getattr(known, name)) for name in NEVER_LOWER}
    dearest = {name: max((usd for usd in both if usd is not None), default=None) for name, both in figures.items()}
    return changed.model_copy(update={"models": models, **dearest})


def amended(known: Capabilities, catalog: Catalog) -> Capabilities:
    """Return the capabilities with what was laid over the shipped catalogue; all else stays the provider's own word."""
    model = known.listed_as or known.model
    try:
        shipped = load(known.provider)
    except UsageError:
        shipped = empty(known.provider, as_of=catalog.as_of)
    before = _facts(shipped, model)
    changes = {name: value for name, value in _facts(catalog, model).items() if value != before[name]}
    return known.model_copy(update=changes) if changes else known


def empty(provider: str, *, as_of: date) -> Catalog:
    """Return the catalogue of a provider that has none, for settings to be laid over it."""
    return Catalog(provider=provider, as_of=as_of, source=NO_SOURCE, models={})


def laid(catalog: Catalog, *, listing: Listing | None, layers: Sequence[tuple[Layer, bool]], today: date) -> Catalog:
    """Lay over a catalogue what is said above it: the provider's own list, then settings (and whether foreign)."""
    found = _listed(catalog, listing) if listing is not None else catalog
    for layer, foreign in layers:
        found = _said(found, layer, today=today, foreign=foreign)
    return found
