"""The façade for library users: settings, store and providers put together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytune import asking, config, curves, jobs, retry
from anytune import look as look_at
from anytune.asking import Asking
from anytune.budgets import Spent
from anytune.catalog import Catalog
from anytune.curves import Where
from anytune.data import check as data_check
from anytune.errors import CredentialError, NotYetError, ProviderError, UsageError
from anytune.look import Look
from anytune.outbox import Due
from anytune.outlook import Outlook
from anytune.providers.base import Endpoint, Generator, Lists, Provider
from anytune.schema.audit import Link, first_broken
from anytune.schema.catalog import Listing
from anytune.schema.data import DataMethod, DataReport
from anytune.schema.evals import EvalReport
from anytune.schema.job import Event, Job, JobState, Summary
from anytune.schema.model import Checkpoint, TunedModel
from anytune.schema.plan import Plan
from anytune.schema.spec import TuneSpec
from anytune.store import JobStore, Summaries

if TYPE_CHECKING:
    from anytune.notify import Notifier
    from anytune.recipe import HandedOver

BUILT_IN = data_check.BUILT_IN  # whose rules data are held against where nobody is named


class Tuner(Outlook):
    """Plan, submit and follow jobs with one set of settings; nothing is opened before it is needed."""

    @property
    def _asking(self) -> Asking:
        return Asking(self.settings.home / "evals", desk=self.desk, reach=self.reach, planning=self.planning)

    def provider(self, name: str) -> Provider:
        """Return the provider of that name, made once; raise `UsageError` when there is none."""
        return self.reach.provider(name)

    def catalogs(self) -> list[Catalog]:
        """Return what is known of models and prices: shipped, listed by the provider itself, and said in settings."""
        return self.offers.all()

    def ask_models(self, name: str) -> Listing:
        """Ask a provider which base models it tunes and keep its answer; raise `UsageError` where there is no list."""
        provider = self.provider(name)
        if not isinstance(provider, Lists):
            raise UsageError(f"{name} has no list of models to be asked for")
        offer = retry.call(provider.models, clock=self.clock, attempts=3)
        kept = Listing(provider=name, as_of=self.today, offer=offer)
        self.offers.keep(kept)
        return kept

    def check(
        self,
        paths: Sequence[Path],
        *,
        for_providers: tuple[str, ...] = BUILT_IN,
        method: DataMethod = "sft",
        ignore: frozenset[str] = frozenset(),
        show: int = 20,
        look: Look | None = None,
    ) -> DataReport:
        """Check data files for these providers, offline, without a key; `show` bounds the issues of one code.

        The codes that the settings pass over are passed over, too. `look` says how far to look beyond the rules.
        """
        return look_at.check(
            paths,
            settings=self.settings,
            for_providers=self.reach.judges(for_providers),
            method=method,
            ignore=ignore,
            show=show,
            look=look,
        )

    def spent(self, month: str | None = None) -> Spent:
        """Return what all jobs of the record count for in a month (`2026-11`), the one that it is if None."""
        return self.budgets.spent(month)

    def hand_over(self, spec: TuneSpec, *, to: str, out: Path) -> HandedOver:
        """Write a job as another trainer's config file with its data beside it; see `recipe.hand_over`."""
        from anytune.recipe import hand_over  # for those alone who go elsewhere

        mine = spec.model_copy(update={"provider": "local"})
        return hand_over(mine, self.planning.checked(mine), to=to, out=out)

    def chain(self, spec: TuneSpec, *, again: bool = False) -> tuple[str, ...]:
        """Return who is asked to train, in order: the job's provider, then its fallbacks.

        Where the newest job of the name is one that went on to a fallback, that one comes first, unless it is to be
        made `again`.
        """
        whole = tuple(dict.fromkeys((spec.provider, *spec.fallback)))
        if len(whole) == 1 or again:
            return whole
        newest = next((job for job in self.store.list(name=spec.name) if job.provider in whole), None)
        return whole if newest is None or not newest.instead_of else whole[whole.index(newest.provider) :]

    def submit(self, plan: Plan, *, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
        """Carry out a plan once; see `jobs.submit`. A key that is missing is told before anything is written down."""
        self.require_key(plan)
        return jobs.submit(plan, desk=self.desk, again=again, instead_of=instead_of)

    def submit_or_leave(self, plan: Plan, *, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
        """Carry out a plan where another provider is there to go to; see `jobs.submit_or_leave`."""
        self.require_key(plan)
        return jobs.submit_or_leave(plan, desk=self.desk, again=again, instead_of=instead_of)

    def require_key(self, plan: Plan) -> None:
        """Raise `CredentialError` where a plan that may be carried out needs a key that is not there."""
        if plan.ok:
            self.reach.require_keys(plan.spec)

    def follow(self, job_id: str, *, timeout: float | None = None) -> Iterator[jobs.Update]:
        """Yield each look at a job until it ends; see `jobs.follow`."""
        return jobs.follow(self.store.get(job_id).id, desk=self.desk, timeout=timeout)

    def sweep(self, *, only: Collection[str] = ()) -> jobs.Sweep:
        """Return the loop that watches all live jobs, and ends with those that are `only` wanted; see `jobs.Sweep`."""
        return jobs.Sweep(self.desk, self.settings.home, only=only, lane=self.lane, mark=self._key_mark)

    def lane(self, name: str) -> jobs.Beside[Any]:
        """Return a lane beside this thread, which works at a desk of its own."""
        return jobs.Beside(self._another_desk, name=name)

    @property
    def worker(self) -> jobs.Worker:
        """Return what is known of the process that watches all jobs without a terminal."""
        return jobs.Worker(self.settings.home, self.clock)

    def _another_desk(self) -> jobs.Desk:
        return Tuner(settings=self.settings, environment=self.environment, clock=self.clock).desk

    def _key_mark(self, name: str) -> str | None:
        """Return what tells a provider's key from another; it is kept nowhere."""
        with suppress(CredentialError):
            return hashlib.sha256(self.reach.profile(name).key().encode()).hexdigest()
        return None

    @cached_property
    def _notifier(self) -> Notifier:
        from anytune.notify import Notifier  # for those alone who want to be told

        return Notifier(self.settings.notify, self.reach.keys, clock=self.clock)

    def due(self) -> Sequence[Due]:
        """Return what the user is still to be told of ends and alarms, oldest first, by the ways that can be tried."""
        if not self.settings.notify.ways:
            return ()
        return self.outbox.due(self.store, self._notifier.ways(), self.clock.now())

    def tell(self, due: Due, *, store: JobStore | None = None) -> Sequence[str]:
        """Tell what is due, unless another process has done so or does so now; return what failed.

        What is told is noted after it was: a process that is killed in between has the next tell it again.
        """
        store, wrong = store or self.store, []
        with self.outbox.taken(due, store) as ways:
            for way in ways:
                done, said = self._notifier.tell(due.news, way)
                wrong += [said] if said else []
                if done:
                    self.outbox.told(due.news, way, store)
        return wrong

    def wait(self, job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
        """Yield the job at each poll until it ends."""
        return (update.job for update in self.follow(job_id, timeout=timeout))

    def job(self, job_id: str) -> Job:
        """Return a job as it was last seen: by id, the beginning of one, name, or `last`."""
        return self.store.get(job_id)

    def all_jobs(self) -> Sequence[Summary]:
        """Return what a list shows of all jobs, newest first: those that run here as they are now, others as last seen.

        A job that runs on another machine is in a shared store only.
        """
        return [self._as_it_is(job) for job in self.store.summaries()]

    def all_documents(self) -> list[str]:
        """Return what a list shows of all jobs, as `all_jobs`, each as JSON."""
        found = self.store.summaries()
        if not isinstance(found, Summaries):
            return [self._as_it_is(job).model_dump_json() for job in found]
        texts = enumerate(found.texts())
        return [self._as_it_is(found[at]).model_dump_json() if is_open else text for at, (text, is_open) in texts]

    def _as_it_is(self, job: Summary) -> Summary:
        return Summary.of(self.refresh(job.id)) if self._runs_here(job) else job

    def _runs_here(self, job: Summary) -> bool:
        if not job.local or job.remote is None or job.state.is_terminal:
            return False
        return self.settings.store is None or (self.settings.home / "runs" / str(job.remote["id"])).exists()

    def look(self, job_id: str) -> tuple[Job, str | None]:
        """Ask the provider how a job stands; if that fails, return it as last seen, and why."""
        job = self.store.get(job_id)
        if job.remote is None and not job.to_remove:
            return job, None
        try:
            return jobs.refresh(job.id, desk=self.desk), None
        except (ProviderError, CredentialError) as error:
            return job, error.message

    def refresh(self, job_id: str) -> Job:
        """Ask the provider how the job stands."""
        return jobs.refresh(self.store.get(job_id).id, desk=self.desk)

    def events(self, job_id: str) -> Sequence[Event]:
        """Take in the provider's events and return all, oldest first."""
        job = self.store.get(job_id)
        jobs.fetch_events(job, desk=self.desk, whole=True)
        return self.store.events(job.id)

    def known_events(self, job_id: str) -> Sequence[Event]:
        """Return the events that were taken in so far, oldest first."""
        return self.store.events(self.store.get(job_id).id)

    def draw(
        self, job_id: str, *, where: Where, place: str | None, project: str | None, follow: bool = False
    ) -> tuple[str, int]:
        """Draw a job's figures in TensorBoard, MLflow or Weights & Biases; return where, and how many steps are new.

        With `follow` until the job ends. Raises `RefusedError` where what is told would leave this machine and may not.
        """
        job = self.store.get(job_id)
        place = place or (self.environment.get("MLFLOW_TRACKING_URI") if where == "mlflow" else None)
        offline = where == "wandb" and self.environment.get("WANDB_MODE") == "offline"
        if curves.remote(where, place) and not offline:
            jobs.permit_telling(job, where, desk=self.desk)
        board = curves.board(where, job, place=place, project=project, key=self._wandb_key, offline=offline)
        many = 0
        try:
            for update in self.follow(job.id) if follow else ():
                many += curves.drawn(board, update.events)
            many += curves.drawn(board, self.events(job.id))
        finally:
            state = self.store.get(job.id).state
            board.close(ended=state.is_terminal, well=state is JobState.SUCCEEDED)
        return board.place, many

    def _wandb_key(self) -> str | None:
        found = self.reach.keys.find("WANDB_API_KEY")
        return found.value if found else None

    def cancelling(self, job_id: str) -> str:
        """Say what cancelling a job costs, as far as it is known, and what it has cost so far."""
        job = self.store.get(job_id)
        known = self.reach.capabilities(job.provider, job.plan.spec.model).cancelling
        can = job.plan.capabilities.model_copy(update={"cancelling": known})
        job = job.model_copy(update={"plan": job.plan.model_copy(update={"capabilities": can})})
        said, found = jobs.cancelling(job), jobs.so_far(job, self.clock.now())
        return said if found is None or not found[0] else f"{said}; so far about ${found[0]:.2f} ({found[1]})"

    def cancel(self, job_id: str) -> Job:
        """Stop a job; harmless on one that has ended."""
        return jobs.cancel(self.store.get(job_id).id, desk=self.desk)

    def pause(self, job_id: str) -> Job:
        """Have a job halt, to be resumed later; see `jobs.pause`."""
        return jobs.pause(self.store.get(job_id).id, desk=self.desk)

    def resume(self, job_id: str) -> Job:
        """Go on with an interrupted job."""
        return jobs.resume(self.store.get(job_id).id, desk=self.desk)

    def adopt(self, whose: str, remote_id: str) -> Job:
        """Take in a job made elsewhere (`whose` is its provider), or say that it is one of ours (`whose` is its id)."""
        if whose in self.reach.names():
            return jobs.adopt(whose, remote_id, desk=self.desk)
        return jobs.settle(self._called(whose), remote_id, desk=self.desk)

    def _called(self, whose: str) -> str:
        """Return the id of the job that is meant where a provider could be; raise `UsageError` if neither is."""
        known = [name for job in self.store.summaries() for name in (job.id, job.name)]
        if whose == "last" or any(name.startswith(whose) for name in known):
            return self.store.get(whose).id
        providers = self.reach.names()
        near = get_close_matches(whose, (*providers, *known), n=1)
        fix = config.nearest(whose, near or providers)
        raise UsageError(f"no provider and no job is called {whose!r}", fix=fix)

    def abandon(self, job_id: str) -> Job:
        """Give up a job that its provider does not have; see `jobs.abandon`."""
        return jobs.abandon(self.store.get(job_id).id, desk=self.desk)

    def model(self, job_id: str, *, step: int | None = None) -> TunedModel:
        """Return the model that a job made, or the one of the checkpoint of this `step`."""
        return jobs.model_at(self.refresh(job_id), step=step, desk=self.desk)

    def checkpoints(self, job_id: str) -> Sequence[Checkpoint]:
        """List the models of the way there that a job's provider keeps, in the order of their steps."""
        return jobs.checkpoints(self.refresh(job_id), desk=self.desk)

    def generator(self, job_id: str, *, base: bool = False, step: int | None = None) -> Generator:
        """Open a job's tuned model (or its base alone, or the checkpoint of a `step`) to be asked; close it after use.

        Raises `RefusedError` where what is asked may not go to the job's provider; so does an answer to a chat with
        private values that are blocked.
        """
        return self._asking.generator(self.store.get(job_id), base=base, step=step)

    def endpoint(self, job_ids: Sequence[str]) -> Endpoint:
        """Open the tuned models of jobs of one base to be asked by many, each by its job's id, and the base."""
        return self._asking.endpoint([self.store.get(job_id) for job_id in job_ids])

    def called_there(self, kind: str, remote_id: str) -> str | None:
        """Return the id of the job whose remote job has this id at a provider of this kind, None if there is none."""
        known = (job for job in self.store.summaries() if job.remote and job.remote["id"] == remote_id)
        return next((job.id for job in known if self.reach.kind(job.provider) == kind), None)

    def answers(self, job_id: str) -> bool:
        """Tell whether a job's models can be asked from here."""
        return self._asking.can(self.store.get(job_id))

    def opening(self, job_id: str) -> str | None:
        """Return the system message with which the job's first training chat begins, if there is one at hand."""
        return asking.opening(self.store.get(job_id))

    def evaluate(
        self,
        job_id: str,
        *,
        test: Path | None = None,
        limit: int | None = None,
        step: int | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> EvalReport:
        """Ask base and tuned model the held-out questions and compare; the report is kept beside the jobs.

        `step` takes the checkpoint of that step for the tuned model.
        """
        return self._asking.compare(self.store.get(job_id), test=test, limit=limit, step=step, progress=progress)

    def kept_evaluation(self, job_id: str) -> EvalReport | None:
        """Return the last whole comparison on the job's own test data, None if there is none."""
        return self._asking.compared(self.store.get(job_id))

    def export(self, job_id: str, *, to: str, out: Path, step: int | None = None) -> dict[str, Any]:
        """Write a job's model, or the one of the checkpoint of a `step`, into `out` and return its manifest.

        One process of this home writes there at a time; raises `NotYetError` in any other.
        """
        name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
        with jobs.Lease(self.settings.home / "exports", name) as lease:
            if not lease.take():
                fix = "wait until it is there, or name another folder with --out"
                raise NotYetError(f"another process is writing {out}", fix=fix)
            return jobs.export(self.refresh(job_id), to=to, out=out, desk=self.desk, step=step)

    def audit(self, job_id: str | None = None) -> tuple[Sequence[Link], int | None]:
        """Return the decisions about a job's data (all if None), and where the whole chain is broken, if it is.

        What stands in the chain and can no longer be read as a decision is left out; the chain is broken there.
        """
        links = self.store.decisions()
        wanted = None if job_id is None else self.store.get(job_id).id
        told = [(link, link.told) for link in links]
        shown = [link for link, decision in told if decision and wanted in (None, decision.job_id)]
        return shown, first_broken(links)
