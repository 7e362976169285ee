"""What would happen: capabilities, settings, money, time, memory, and every reason against it."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal, Self

from anytune.schema.base import Value
from anytune.schema.data import DataFile, DataReport, PrivacyPolicy
from anytune.schema.money import Standing, Usd
from anytune.schema.spec import REINFORCEMENT, TuneSpec
from anytune.schema.trainer import Trainer
from anytune.schema.training import Method

Outcome = Literal["kept", "translated", "refused"]


class Rule(Value):
    """Say what a provider does with one setting.

    `to` is the provider's own field; a value outside `minimum`..`maximum` or `choices` is refused; `why` explains a
    translation (its formula) or a refusal.
    """

    outcome: Outcome
    to: str | None = None
    why: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


# What anytune's own trainer alone knows; a hosted provider spreads these among its rules.
OWN_TRAINER_ALONE: dict[str, Rule] = {
    **dict.fromkeys(
        REINFORCEMENT, Rule(outcome="refused", why="reinforcement is what anytune's own trainer does: provider: local")
    ),
    "training.simpo_gamma": Rule(
        outcome="refused", why="not documented for jobs here: Together and anytune's own trainer know SimPO"
    ),
    "training.orpo_lambda": Rule(outcome="refused", why="ORPO is what anytune's own trainer does: provider: local"),
    "training.over_length": Rule(
        outcome="refused",
        why="what becomes of longer examples here cannot be chosen: leave it on auto, and see what anytune check tells",
    ),
    "training.lora.use_rslora": Rule(
        outcome="refused",
        why="not documented for jobs here; where alpha can be set, alpha times the root of the rank is the same scale",
    ),
    "from_checkpoint": Rule(
        outcome="refused", why="how a job here goes on from an adapter is not known to anytune: provider: local does"
    ),
}


class Price(Value):
    """Hold training prices in US dollars per million tokens, as read on `as_of` from `source`.

    `stated` says whose word it is where it is not the catalogue's. Where a machine is rented instead, `per_hour` is its
    price, and the provider ends a job after `hours`.
    """

    per_million: dict[str, Decimal] = {}
    per_hour: Decimal | None = None
    hours: Decimal | None = None
    minimum: Decimal = Decimal(0)
    bills_validation: bool = False
    as_of: date
    source: str
    stated: str | None = None


class Hosting(Value):
    """Say what it costs to keep a tuned model ready to answer, in US dollars an hour.

    `needed` is False where a tuned model answers without a deployment of its own; `low` and `high` are None where no
    figure is known.
    """

    needed: bool
    low: Decimal | None = None
    high: Decimal | None = None
    what: str
    as_of: str
    source: str


class Cancelling(Value):
    """Say what is billed of a job that is cancelled, as far as its provider says so."""

    what: str
    as_of: str
    source: str


class Capabilities(Value):
    """Describe what a provider does with one base model: known offline and without a key.

    `settings` maps a path in the job file (`training.epochs`) to the provider's rule; a path that is missing is
    refused. `regions` None means unknown, which a residency other than `any` refuses; `sites` are the provider's own
    names of places where a job can run, which say nothing of where data are kept; `places` names the regions that such
    a place of the profile lies in where it does say so. `hosts` are the addresses at which alone a region holds that a
    profile states, for a provider that keeps regions apart by them. `roams` is why no region can be promised, whatever
    a profile states. `fetches` says what a local run would have to get from elsewhere. `price` None means no money, or
    that no price is known; `usd_per_hour` and `usd_per_kwh` are what a local run costs, if the user says so, and
    `billed_as` what a cost is that comes with a job. `listed_as` is the catalogue's name of the model, `unlisted_on`
    the day of a list of the provider's own that does not have it, `settings_source` what the rules go by. `trainer`
    says which of a trainer's own inputs take what, where each model has its own. `opaque` is the one reason against a
    model of which nothing is known, its settings included.
    """

    provider: str
    model: str
    known: bool
    methods: tuple[Method, ...]
    settings: dict[str, Rule]
    local: bool = False
    trainer: Trainer | None = None
    opaque: str | None = None
    regions: tuple[str, ...] | None = None
    region_note: str | None = None
    sites: tuple[str, ...] = ()
    places: dict[str, tuple[str, ...]] = {}
    hosts: dict[str, str] = {}
    roams: str | None = None
    max_length: int | None = None
    min_examples: int = 1
    max_file_bytes: int | None = None
    accepts_jobs_until: date | None = None
    model_shutdown: date | None = None
    weights_downloadable: bool = False
    price: Price | None = None
    hosting: Hosting | None = None
    cancelling: Cancelling | None = None
    usd_per_hour: Decimal | None = None
    usd_per_kwh: Decimal | None = None
    listed_as: str | None = None
    unlisted_on: date | None = None
    settings_source: str | None = None
    billed_as: str | None = None
    similar: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    fetches: str | None = None
    notes: tuple[str, ...] = ()
    as_of: date | None = None


class Setting(Value):
    """Report one setting of the file: kept, translated or refused; `sent` is what stands for it in the request."""

    path: str
    value: Any
    outcome: Outcome
    to: str | None = None
    sent: Any = None
    why: str | None = None


class CostEstimate(Value):
    """Estimate the bill; None where no price is known. `basis` says from what, `as_of` how old the price is."""

    low: Decimal | None
    expected: Decimal | None
    high: Decimal | None
    currency: str = "USD"
    basis: str
    as_of: date | None = None


class Deviation(Value):
    """Say how far a bill lies above (or, negative, below) what was expected; `within` the low and high that were told.

    `share` is of what was expected, None where that was nothing.
    """

    usd: Decimal
    share: float | None
    within: bool


class Instead(Value):
    """Name settings with which a run would fit, by their paths in the job file, and what it would then need."""

    settings: dict[str, Any]
    memory_expected: int

    @property
    def flags(self) -> str:
        """Say the settings as the command line takes them."""
        flat: list[str] = []
        for path, value in self.settings.items():
            inner = value.items() if isinstance(value, dict) else ()
            flat += [f"--set {path}.{name}={one}" for name, one in inner] or [f"--set {path}={value}"]
        return " ".join(flat)


class ResourceEstimate(Value):
    """Estimate what a run needs on a machine: seconds, peak bytes of memory, watt-hours.

    `fits` is `tight` where the memory that is free lies between low and high. `how` it is known: by arithmetic on the
    sizes of a model of a `known` kind, by a `guess`, or `exact`, by a step of the real model class. `way` is how the
    run would use the memory, `instead` what would fit where this does not surely.
    """

    seconds_low: float
    seconds_expected: float
    seconds_high: float
    memory_low: int
    memory_expected: int
    memory_high: int
    memory_available: int
    fits: Literal["yes", "tight", "no"] = "yes"
    how: Literal["known", "guess", "exact"] = "known"
    way: dict[str, Any] = {}
    instead: tuple[Instead, ...] = ()
    watt_hours: float
    device: str
    basis: str


class Policy(Value):
    """Hold what the project allows; the stricter of this and the job's own wish counts."""

    residency: str = "any"
    providers: tuple[str, ...] | None = None
    budget_usd: Usd | None = None
    privacy: PrivacyPolicy = PrivacyPolicy()

    def and_also(self, other: Self) -> Self:
        """Return what satisfies both; two different regions leave only this machine."""
        places = {self.residency, other.residency} - {"any"} or {"any"}
        named = [set(p.providers) for p in (self, other) if p.providers is not None]
        limits = [p.budget_usd for p in (self, other) if p.budget_usd is not None]
        return type(self)(
            residency=places.pop() if len(places) == 1 else "local",
            providers=tuple(sorted(set.intersection(*named))) if named else None,
            budget_usd=min(limits, default=None),
            privacy=PrivacyPolicy(block=tuple(sorted({*self.privacy.block, *other.privacy.block}))),
        )


class Plan(Value):
    """Be everything that a submit would do, decided; `refused` empty means that it may.

    `closed` are those of its refusals that are the provider's own: it takes no such jobs any more; `barred` those that
    keep these data or this money from it. `months` says how the budgets of the month stand without it.
    """

    spec: TuneSpec
    capabilities: Capabilities
    data: DataReport
    files: tuple[DataFile, ...]
    settings: tuple[Setting, ...]
    cost: CostEstimate
    resources: ResourceEstimate | None = None
    machines: tuple[ResourceEstimate, ...] = ()
    request: dict[str, Any] | None = None
    refused: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    months: tuple[Standing, ...] = ()
    fingerprint: str
    made_on: date

    @property
    def ok(self) -> bool:
        """Tell whether nothing stands against it."""
        return not self.refused

    @property
    def elsewhere(self) -> bool:
        """Tell whether nothing stands against it but that the provider takes no such jobs any more."""
        return bool(self.refused) and set(self.refused) <= set(self.closed)

    @property
    def passed_by(self) -> bool:
        """Tell whether nothing stands against it but what may not stand against another provider, as the data do."""
        return bool(self.refused) and set(self.refused) <= {*self.closed, *self.barred}
