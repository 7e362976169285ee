"""The budgets of a month: which hold here, what a plan would do to them, and what has been spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from itertools import groupby

from anytune import spending
from anytune.config import Settings
from anytune.jobs import user
from anytune.offers import Offers
from anytune.schema.job import JobState
from anytune.schema.money import Charge, Limit, Standing
from anytune.schema.plan import Hosting, Plan
from anytune.store import JobStore


@dataclass(frozen=True)
class Row:
    """Be what one project's jobs at one provider count for: `cost` what some did cost, `expected` what others may."""

    project: str
    provider: str
    jobs: int
    cost: Decimal
    expected: Decimal
    unpriced: int

    @property
    def usd(self) -> Decimal:
        """Return both together."""
        return self.cost + self.expected


@dataclass(frozen=True)
class Kept:
    """Be so many tuned models of a provider, and what one costs while it is kept ready to answer."""

    provider: str
    models: int
    hosting: Hosting


@dataclass(frozen=True)
class Spent:
    """Be all that is known of a month's money; what hosting costs is in no sum, for it is not seen from here."""

    month: str
    renews: date
    rows: tuple[Row, ...]
    standings: tuple[Standing, ...]
    hosting: tuple[Kept, ...]


class Budgets:
    """Hold plans against the budgets of the month that it is; the record is opened only where there is one."""

    def __init__(
        self, settings: Settings, *, offers: Offers, store: Callable[[], JobStore], now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._offers = offers
        self._store = store
        self._now = now

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Return the user's own budget and the project's, as far as there are such."""
        return tuple(self._limits())

    def _limits(self) -> Iterator[Limit]:
        own, projects = self._settings.budget.month, self._settings.project_budget.month
        if own is not None:
            yield Limit(whose="user", name=user(), usd=own)
        if projects is not None and self._settings.project is not None:
            yield Limit(whose="project", name=self._settings.project, usd=projects)

    def held(self, plan: Plan) -> Plan:
        """Return a plan with what stands against it in the month that it is, and how the budgets stand."""
        if not self.limits:
            return plan
        cost = plan.cost
        months = self.standings(spending.month_of(self._now()))
        refused = [
            spending.reason(found, cost.high, basis=cost.basis)
            for found in months
            if not spending.fits(found, cost.high)
        ]
        against = {"refused": (*plan.refused, *refused), "barred": (*plan.barred, *refused)}
        return plan.model_copy(update={"months": months, **against})

    def standings(self, month: str) -> tuple[Standing, ...]:
        """Say how each budget stands in a month."""
        told = self._store().charges(month) if self.limits else ()
        return tuple(spending.standing(limit, told, month) for limit in self.limits)

    def spent(self, month: str | None = None) -> Spent:
        """Return what all jobs of the record count for in a month, the one that it is if None."""
        month = month or spending.month_of(self._now())
        return Spent(
            month=month,
            renews=spending.renewal(month),
            rows=tuple(_rows(self._store().charges(month))),
            standings=self.standings(month),
            hosting=tuple(self._kept()),
        )

    def _kept(self) -> Iterator[Kept]:
        made = [job.provider for job in self._store().summaries() if job.state is JobState.SUCCEEDED and not job.local]
        for provider in sorted(set(made)):
            known = self._offers.of(provider)
            if known is not None and known.hosting is not None and known.hosting.needed:
                yield Kept(provider, made.count(provider), known.hosting)


def _rows(charges: Iterable[Charge]) -> Iterator[Row]:
    def where(charge: Charge) -> tuple[str, str]:
        return charge.project, charge.provider

    for (project, provider), group in groupby(sorted(charges, key=where), key=where):
        told = list(group)
        usd = {known: [c.usd for c in told if c.known is known and c.usd is not None] for known in (True, False)}
        yield Row(
            project=project,
            provider=provider,
            jobs=len({charge.job_id for charge in told}),
            cost=sum(usd[True], Decimal(0)),
            expected=sum(usd[False], Decimal(0)),
            unpriced=sum(charge.usd is None for charge in told),
        )
