"""What a user can know before a job: its plans, held against the budgets. What follows jobs is not loaded for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anytune import clock as clocks
from anytune import config
from anytune.config import Settings
from anytune.errors import ConflictError, UsageError
from anytune.offers import Offers
from anytune.planning import Foresight, Planning
from anytune.reach import Reach
from anytune.schema.plan import Plan
from anytune.schema.spec import TuneSpec

if TYPE_CHECKING:
    from anytune.budgets import Budgets
    from anytune.jobs import Desk
    from anytune.outbox import Outbox
    from anytune.schema.job import Job
    from anytune.store import JobStore


class Outlook:
    """Hold one set of settings and what they lead to; nothing is opened, or loaded, before it is needed."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        clock: clocks.Clock | None = None,
    ) -> None:
        """Read the settings that hold in `folder` (the current one if None)."""
        known = os.environ if environment is None else environment
        self.settings = settings or config.load_settings(folder=folder or Path.cwd(), environment=known)
        self.environment = known
        self.clock = clock or clocks.SystemClock()
        self.offers = Offers(self.settings, today=lambda: self.today)
        self.reach = Reach(self.settings, offers=self.offers, environment=known, clock=self.clock)
        self.planning = Planning(self.settings, reach=self.reach, offers=self.offers, today=lambda: self.today)

    @property
    def today(self) -> date:
        """Return the day that it is."""
        return self.clock.now().date()

    @cached_property
    def store(self) -> JobStore:
        """Open the record of jobs; from when it was first opened on the user is told of what comes into it."""
        from anytune.store import open_store

        store = open_store(self.settings.home, address=self.settings.store)
        self.outbox.open(self.settings.notify.ways, self.clock.now())
        return store

    @cached_property
    def outbox(self) -> Outbox:
        """Return what the user is to be told."""
        from anytune.outbox import Outbox

        return Outbox(self.settings.home)

    @cached_property
    def budgets(self) -> Budgets:
        """Return the budgets of the month."""
        from anytune.budgets import Budgets

        return Budgets(self.settings, offers=self.offers, store=lambda: self.store, now=lambda: self.clock.now())

    @property
    def desk(self) -> Desk:
        """Return what work on jobs needs."""
        from anytune.jobs import Desk

        return Desk(
            store=self.store,
            provider=self.reach.provider,
            policy=self.settings.policy,
            clock=self.clock,
            place=self.reach.placed,
            project=self.settings.project or "",
            limits=self.budgets.limits,
        )

    def plan_all(
        self, job_file: Path | str, *, changes: Sequence[str] = (), model: str | None = None, force: bool = False
    ) -> Iterator[tuple[str, Plan | UsageError]]:
        """Plan the job file for every provider, or say why one cannot be planned; see `Planning.every`."""
        for name, plan in self.planning.every(job_file, changes=changes, model=model, force=force):
            yield name, self._held(plan) if isinstance(plan, Plan) else plan

    def read(
        self,
        job_file: Path | str,
        *,
        changes: Sequence[str] = (),
        provider: str | None = None,
        model: str | None = None,
    ) -> TuneSpec:
        """Read a job file for one provider."""
        return self.planning.read(job_file, changes=changes, provider=provider, model=model)

    def plan(
        self, spec: TuneSpec, *, force: bool = False, again: bool = False, foresight: Foresight | None = None
    ) -> Plan:
        """Decide what a submit would do: offline, without a key, sending nothing.

        A job that there is counts for its budgets already, unless another is to be made `again`.
        """
        return self._held(self.planning.plan(spec, force=force, foresight=foresight), again=again)

    def _held(self, plan: Plan, *, again: bool = False) -> Plan:
        if self.settings.budget.month is None and self.settings.project_budget.month is None:
            return plan
        there = self.budgets.limits and not again and self.earlier(plan) is not None
        return plan if there else self.budgets.held(plan)

    def earlier(self, plan: Plan) -> Job | None:
        """Return the job that a submit of this plan would take up, None when it would make one or be refused."""
        from anytune import jobs

        with suppress(ConflictError):
            return jobs.earlier(plan, desk=self.desk)
        return None
