"""What is known of providers: models, prices, limits and dates, and what is said above it by lists and settings."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from anytune.schema.base import Value
from anytune.schema.dialect import Dialect
from anytune.schema.plan import Cancelling, Hosting
from anytune.schema.trainer import Trainer
from anytune.schema.training import Method

PriceKey = Literal["sft", "dpo", "sft-full", "dpo-full"]
Dollars = Annotated[Decimal, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Entry(Value):
    """Describe one base model of a provider; `price` is in US dollars per million tokens, by method.

    `as_of` and `source` say who named the model, `priced_on` and `priced_by` who named its price; None: the
    catalogue. `trainer` names its inputs where they are its own.
    """

    methods: tuple[Method, ...] = ("sft", "dpo")
    max_length: int | None = None
    lora_only: bool = True
    closed: date | None = None
    shutdown: date | None = None
    price: dict[PriceKey, Dollars] = {}
    minimum: Dollars | None = None
    trainer: Trainer | None = None
    as_of: date | None = None
    source: str | None = None
    priced_on: date | None = None
    priced_by: str | None = None


class Storage(Value):
    """Name the hosts that keep what a provider is sent and hands out, as read on `as_of` from `source`.

    `*.` at the front of one stands for every host below it.
    """

    hosts: tuple[str, ...]
    as_of: date
    source: str


class Catalog(Value):
    """Describe one provider as read on `as_of` from `source`.

    `key` and `account` name environment variables; so does `wandb_key`, where the key of Weights & Biases goes with
    each job that is reported there. `address` is the shape of one that only the user can know, and `domains` are those
    below which it lies. `sites` are the provider's own names of places where a job can run,
    `hosts` the addresses at which alone data are kept in a region, `storage` those to which its answers may send us for
    bytes. `settings_source` says what the translation of
    settings goes by, `billed_as` what a job's own cost is, `no_checkpoints` why no model of the way there can be had.
    `guessed` names what the adapter takes for granted that no description says and nobody has seen at the live service.
    `listed_on` is the day of the provider's own whole list of tunable models, and `unlisted` names the models that are
    not in it.
    """

    provider: str
    as_of: date
    source: str
    key: str | None = None
    account: str | None = None
    wandb_key: str | None = None
    base_url: str | None = None
    address: str | None = None
    domains: tuple[str, ...] = ()
    dialect: Dialect | None = None
    regions: tuple[str, ...] | None = None
    region_note: str | None = None
    sites: tuple[str, ...] = ()
    places: dict[str, tuple[str, ...]] = {}
    hosts: dict[str, str] = {}
    storage: Storage | None = None
    flavors: dict[str, Decimal] = {}
    min_examples: int = 1
    max_file_bytes: int | None = None
    accepts_jobs_until: date | None = None
    weights_downloadable: bool = False
    minimum: Decimal = Decimal(0)
    full_factor: Decimal | None = None
    bills_validation: bool = False
    takes_any: bool = False
    hosting: Hosting | None = None
    cancelling: Cancelling | None = None
    settings_source: str | None = None
    billed_as: str | None = None
    no_checkpoints: str | None = None
    usd_per_hour: Decimal | None = None
    usd_per_kwh: Decimal | None = None
    notes: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    listed_on: date | None = None
    unlisted: tuple[str, ...] = ()
    models: dict[str, Entry]


class Said(Value):
    """Say of one model what differs from the catalogue, or that there is one more; what is left out stays as it is."""

    methods: tuple[Method, ...] | None = None
    max_length: Count | None = None
    closed: date | None = None
    shutdown: date | None = None
    price: dict[PriceKey, Dollars] = {}
    minimum: Dollars | None = None


class Layer(Value):
    """Say of a provider what differs from the catalogue, in the words of the catalogue.

    `usd_per_hour` (a rented machine) and `usd_per_kwh` (electricity) are what a run of provider `local` costs.
    """

    models: dict[str, Said] = {}
    minimum: Dollars | None = None
    max_file_bytes: Count | None = None
    accepts_jobs_until: date | None = None
    weights_downloadable: bool | None = None
    usd_per_hour: Dollars | None = None
    usd_per_kwh: Dollars | None = None


class Offer(Value):
    """Be what a provider's own list says of base models; `source` is the address that was asked.

    `whole` means that a model of the catalogue that is not in it cannot be tuned.
    """

    source: str
    whole: bool
    models: dict[str, Said]


class Listing(Value):
    """Be an offer as it was on a day."""

    provider: str
    as_of: date
    offer: Offer


class Closed(Value):
    """Say since when a provider takes no jobs, why, as read where, and who takes them instead.

    `aliases` are other names under which it is asked for; `since` is a day, a month or a year, as exactly as known.
    """

    name: str
    aliases: tuple[str, ...] = ()
    since: Annotated[str, Field(pattern=r"^\d{4}(-\d\d){0,2}$")]
    why: str
    source: str
    as_of: date
    instead: tuple[str, ...]


def stated(value: Value) -> dict[str, Any]:
    """Return the fields that somebody filled in."""
    return {name: found for name in type(value).model_fields if (found := getattr(value, name)) not in (None, {})}
