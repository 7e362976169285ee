"""Read `catalog/*.yaml`: what changes monthly (models, prices, limits, regions, dates), with its date and source."""

from __future__ import annotations

import difflib
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from anytune.errors import UsageError
from anytune.schema.base import Value
from anytune.schema.dialect import Dialect
from anytune.schema.plan import Capabilities, Price, Rule
from anytune.schema.spec import Method
from anytune.schema.trainer import Trainer


class Entry(Value):
    """Describe one base model of a provider; `price` is in US dollars per million tokens, by method.

    `trainer` names its inputs where they are its own.
    """

    methods: tuple[Method, ...]
    max_length: int | None = None
    lora_only: bool = True
    closed: date | None = None
    shutdown: date | None = None
    price: dict[str, Decimal] = {}
    minimum: Decimal | None = None
    trainer: Trainer | None = None


class Catalog(Value):
    """Describe one provider as read on `as_of` from `source`.

    `key` and `account` name environment variables. `sites` are the provider's own names of places where a job can run,
    `places` the regions that a region of the profile lies in. `flavors` are machines that it rents out, with what each
    costs in US dollars an hour. `address` shows what a `base_url` looks like that only the user can know. `dialect` is
    there where the provider speaks OpenAI's API.
    """

    provider: str
    as_of: date
    source: str
    key: str | None = None
    account: str | None = None
    base_url: str | None = None
    address: str | None = None
    dialect: Dialect | None = None
    regions: tuple[str, ...] | None = None
    region_note: str | None = None
    sites: tuple[str, ...] = ()
    places: dict[str, tuple[str, ...]] = {}
    flavors: dict[str, Decimal] = {}
    min_examples: int = 1
    max_file_bytes: int | None = None
    accepts_jobs_until: date | None = None
    weights_downloadable: bool = False
    hosting_per_hour: Decimal | None = None
    minimum: Decimal = Decimal(0)
    full_factor: Decimal | None = None
    bills_validation: bool = False
    notes: tuple[str, ...] = ()
    models: dict[str, Entry]


@cache
def load(provider: str) -> Catalog:
    """Read one provider's catalogue; raise `UsageError` when there is none."""
    path = files("anytune").joinpath("catalog", f"{provider}.yaml")
    if not path.is_file():
        raise UsageError(f"there is no catalogue of {provider!r}")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Catalog.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))


def capabilities(provider: str, model: str, *, settings: dict[str, Rule]) -> Capabilities:
    """Put together what the catalogue knows of a model with the provider's rules for settings."""
    catalog = load(provider)
    entry = catalog.models.get(model)
    return Capabilities(
        provider=provider,
        model=model,
        known=entry is not None,
        methods=entry.methods if entry else ("sft", "dpo"),
        settings=settings,
        regions=catalog.regions,
        region_note=catalog.region_note,
        max_length=entry.max_length if entry else None,
        min_examples=catalog.min_examples,
        max_file_bytes=catalog.max_file_bytes,
        accepts_jobs_until=(entry.closed if entry else None) or catalog.accepts_jobs_until,
        model_shutdown=entry.shutdown if entry else None,
        weights_downloadable=catalog.weights_downloadable,
        hosting_per_hour=catalog.hosting_per_hour,
        places=catalog.places,
        price=_price(catalog, entry) if entry and entry.price else None,
        similar=() if entry else tuple(difflib.get_close_matches(model, catalog.models, n=3, cutoff=0.4)),
        notes=catalog.notes,
        as_of=catalog.as_of,
    )


def _price(catalog: Catalog, entry: Entry) -> Price:
    full = catalog.full_factor
    dearer = {f"{method}-full": usd * full for method, usd in entry.price.items()} if full else {}
    return Price(
        per_million={**dearer, **entry.price},
        minimum=catalog.minimum if entry.minimum is None else entry.minimum,
        bills_validation=catalog.bills_validation,
        as_of=catalog.as_of,
        source=catalog.source,
    )
