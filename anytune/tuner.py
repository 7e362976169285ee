"""The façade for library users: settings, store and providers put together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anytune import catalog, config, evals, jobs, planner, policy, providers
from anytune import look as look_at
from anytune.config import ProfileSettings, Settings
from anytune.data import check as data_check
from anytune.data import split as data_split
from anytune.data.check import Asker
from anytune.data.input import opened
from anytune.errors import AnytuneError, ConflictError, CredentialError, ProviderError, RefusedError, UsageError
from anytune.look import Checks, Look
from anytune.providers.base import Estimates, Generates, Generator, Profile, Provider
from anytune.schema.audit import Act, Link, first_broken
from anytune.schema.data import DataMethod, DataReport, Role
from anytune.schema.evals import EvalReport
from anytune.schema.job import Event, Job
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities, Plan
from anytune.schema.spec import TuneSpec
from anytune.store import JobStore, SqliteStore

BUILT_IN = data_check.BUILT_IN  # whose rules data are held against where nobody is named
TO_BE_KNOWN = {"job_id": "<job id>", "training_file": "<file id>"}


class Tuner:
    """Plan, submit and follow jobs with one set of settings; nothing is opened before it is needed."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Settings | None = None,
        clock: jobs.Clock | None = None,
    ) -> None:
        """Read the settings that hold in `folder` (the current one if None)."""
        self._environment = os.environ if environment is None else environment
        self.settings = settings or config.load_settings(folder=folder or Path.cwd(), environment=self._environment)
        self._clock = clock or jobs.SystemClock()
        self._providers: dict[str, Provider] = {}

    @cached_property
    def store(self) -> JobStore:
        """Open the record of jobs."""
        return SqliteStore(self.settings.home)

    @property
    def desk(self) -> jobs.Desk:
        """Return what work on jobs needs."""
        return jobs.Desk(
            store=self.store,
            provider=self.provider,
            policy=self.settings.policy,
            clock=self._clock,
            place=self._placed,
        )

    def provider(self, name: str) -> Provider:
        """Return the provider of that name, made once; raise `UsageError` when there is none."""
        if name not in self._providers:
            self._providers[name] = providers.load(name, self.profile(name))
        return self._providers[name]

    def names(self) -> tuple[str, ...]:
        """List every provider that can be named: those of anytune and its plug-ins, and the servers of one's own."""
        known = providers.names()
        return (*known, *(n for n, profile in self.settings.profiles.items() if profile.like and n not in known))

    def kind(self, name: str) -> str:
        """Return the provider whose ways a name goes: its own, or those that its profile is like."""
        return self._settings_of(name).like or name

    def _settings_of(self, name: str) -> ProfileSettings:
        return self.settings.profiles.get(name, ProfileSettings())

    def profile(self, name: str) -> Profile:
        """Return how a provider is reached: the user's profile above the catalogue's defaults."""
        wanted = self._settings_of(name)
        variable = self.key_variable(name)
        key = config.key_source(name, variable, self._environment)
        return Profile(
            name=name,
            home=self.settings.home,
            key=partial(self._no_key, name) if variable and name in self.settings.keyless else key,
            base_url=wanted.base_url,
            region=wanted.region,
            account=wanted.account or self._account(name),
            tier=wanted.tier,
            like=wanted.like,
            flavor=wanted.flavor,
            hours=wanted.hours,
            timeout=wanted.timeout,
            trainers=wanted.trainers,
        )

    def _no_key(self, name: str) -> str:
        where = _host(self._settings_of(name).base_url or "") or "at the provider's own address"
        raise CredentialError(
            f"{name}: the project, not you, says where it is ({where}): no key goes there",
            fix=f"if you trust it, set profiles.{name}.base_url in your own config.yaml, too",
        )

    def key_variable(self, name: str) -> str | None:
        """Return the environment variable that holds a provider's key, None when it needs none.

        A server of one's own gets the key that its profile names, and no other provider's.
        """
        wanted = self._settings_of(name)
        if wanted.key_variable or (wanted.like and wanted.base_url):
            return wanted.key_variable
        try:
            name = wanted.like or name
            return catalog.load(name).key
        except UsageError:
            return f"{name.upper().replace('-', '_')}_API_KEY"

    def _account(self, name: str) -> str | None:
        with suppress(UsageError):
            return self._environment.get(catalog.load(name).account or "", "").strip() or None
        return None

    def read(
        self,
        job_file: Path | str,
        *,
        changes: Sequence[str] = (),
        provider: str | None = None,
        model: str | None = None,
    ) -> TuneSpec:
        """Read a job file for one provider."""
        return config.load_job(Path(job_file), changes=changes, provider=provider, model=model, known=self.names())

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
            for_providers=self.judges(for_providers),
            method=method,
            ignore=ignore,
            show=show,
            look=look,
        )

    def judges(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return whose rules hold for data that go to these; raise `UsageError` for a name that no provider has."""
        for name in names:
            if name not in data_check.COLUMNS:
                self.provider(name)
        return tuple(dict.fromkeys(self.kind(name) for name in names))

    def plan_all(
        self,
        job_file: Path | str,
        *,
        changes: Sequence[str] = (),
        model: str | None = None,
        force: bool = False,
    ) -> Iterator[tuple[str, Plan | UsageError]]:
        """Plan the job file for every provider; one for which it names no model yields the reason.

        Raises `UsageError` for a job file that no provider could be planned from.
        """
        self.read(job_file, changes=changes, model=model or "any")
        read = partial(self.read, job_file, changes=changes, model=model)
        checks = Checks(partial(_each, read, self.names()), self._asker)
        for name in self.names():
            try:
                yield name, self.plan(read(provider=name), force=force, checks=checks)
            except UsageError as error:
                yield name, error

    def plan(self, spec: TuneSpec, *, force: bool = False, checks: Checks | None = None) -> Plan:
        """Decide what a submit would do: offline, without a key, sending nothing.

        `checks` are shared with the plans of other jobs, so that data which these have in common are read once.
        """
        provider = self.provider(spec.provider)
        capabilities = self.capabilities(spec.provider, spec.model)
        data = self._checked(spec, checks or self._alone(spec))
        resources = provider.estimate(spec, data) if isinstance(provider, Estimates) else None
        draft = planner.make(
            spec,
            data,
            capabilities,
            policy=self.settings.policy,
            today=self._clock.now().date(),
            resources=resources,
            force=force,
        )
        if draft.refused:
            return draft
        validation = "<file id>" if data.role("validation") else None
        request = provider.render(spec, **TO_BE_KNOWN, validation_file=validation)
        return draft.model_copy(update={"request": request})

    def capabilities(self, name: str, model: str) -> Capabilities:
        """Describe what a provider does with a base model, and where, as its profile has it: offline, without a key."""
        return self._placed(self.provider(name).capabilities(model))

    def _placed(self, capabilities: Capabilities) -> Capabilities:
        profile = self._settings_of(capabilities.provider)
        kind = self.kind(capabilities.provider)
        known = next((c for c in self.catalogs() if c.provider == kind), None)
        own = known.base_url if known is not None else None
        moves = known is None or known.address is None  # an address that only the user can know is no other host
        return policy.placed(
            capabilities,
            host=_host(profile.base_url) if profile.base_url and moves else None,
            own_host=_host(own) if own else None,
            stated=profile.region,
        )

    def _checked(self, spec: TuneSpec, checks: Checks) -> DataReport:
        """Check the user's files; a wanted split is made of a file without errors, once, and kept beside the jobs."""
        named: dict[Role, Path] = {"train": spec.data.train}
        named |= {"validation": spec.data.validation} if spec.data.validation else {}
        named |= {"test": spec.data.test} if spec.data.test else {}
        report = checks.report(spec, named)
        if spec.data.split is None or not report.ok:
            return report
        folder = self.settings.home / "splits"
        named["train"], named["validation"] = data_split.kept(spec.data.train, share=spec.data.split, folder=folder)
        return checks.report(spec, named)

    def _alone(self, spec: TuneSpec) -> Checks:
        return Checks(lambda: (spec,), self._asker)

    def _asker(self, spec: TuneSpec) -> Asker:
        """Return how a job's data are checked: for its provider, model and length, and for what may not leave."""
        length = spec.training.max_length
        look = Look(model=spec.model or None, max_length=length if isinstance(length, int) else None)
        block = frozenset[str]((*spec.data.privacy.block, *self.settings.policy.privacy.block))
        wish = look_at.wish(look, (self.kind(spec.provider),), self.catalogs(), block)
        return Asker((self.kind(spec.provider),), frozenset(self.settings.check.ignore), wish)

    def chain(self, spec: TuneSpec, *, again: bool = False) -> tuple[str, ...]:
        """Return who is asked to train, in order: the job's provider, then its fallbacks.

        Where the job went on to a fallback before, that one comes first, unless it is to be made `again`.
        """
        whole = tuple(dict.fromkeys((spec.provider, *spec.fallback)))
        if len(whole) == 1 or again:
            return whole
        went = [job.provider for job in self.store.list(name=spec.name) if job.instead_of]
        at = next((whole.index(name) for name in went if name in whole), 0)
        return whole[at:]

    def earlier(self, plan: Plan) -> Job | None:
        """Return the job that a submit of this plan would take up, None when it would make one or be refused."""
        with suppress(ConflictError):
            return jobs.earlier(plan, desk=self.desk)
        return None

    def submit(self, plan: Plan, *, again: bool = False) -> Job:
        """Carry out a plan once; see `jobs.submit`. A key that is missing is told before anything is written down."""
        self._require_key(plan)
        return jobs.submit(plan, desk=self.desk, again=again)

    def submit_or_leave(self, plan: Plan, *, again: bool = False, instead_of: tuple[str, ...] = ()) -> Job:
        """Carry out a plan where another provider is there to go to; see `jobs.submit_or_leave`."""
        self._require_key(plan)
        return jobs.submit_or_leave(plan, desk=self.desk, again=again, instead_of=instead_of)

    def _require_key(self, plan: Plan) -> None:
        kind = self.kind(plan.spec.provider)
        if plan.ok and any(c.key and c.provider == kind for c in self.catalogs()):
            self.profile(plan.spec.provider).key()

    def follow(self, job_id: str, *, timeout: float | None = None) -> Iterator[jobs.Update]:
        """Yield each look at a job until it ends; see `jobs.follow`."""
        return jobs.follow(self.store.get(job_id).id, desk=self.desk, timeout=timeout)

    def wait(self, job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
        """Yield the job at each poll until it ends."""
        return (update.job for update in self.follow(job_id, timeout=timeout))

    def job(self, job_id: str) -> Job:
        """Return a job as it was last seen: by id, the beginning of one, name, or `last`."""
        return self.store.get(job_id)

    def all_jobs(self) -> Sequence[Job]:
        """Return all jobs, newest first: those on this machine as they stand now, hosted ones as last seen."""
        return [
            self.refresh(job.id) if job.plan.capabilities.local and job.remote is not None else job
            for job in self.store.list()
        ]

    def look(self, job_id: str) -> tuple[Job, str | None]:
        """Ask the provider how a job stands; if that fails, return it as last seen, and why."""
        job = self.store.get(job_id)
        if job.remote is None:
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
        jobs.fetch_events(job, desk=self.desk)
        return self.store.events(job.id)

    def known_events(self, job_id: str) -> Sequence[Event]:
        """Return the events that were taken in so far, oldest first."""
        return self.store.events(self.store.get(job_id).id)

    def cancel(self, job_id: str) -> Job:
        """Stop a job; harmless on one that has ended."""
        return jobs.cancel(self.store.get(job_id).id, desk=self.desk)

    def resume(self, job_id: str) -> Job:
        """Go on with an interrupted job."""
        return jobs.resume(self.store.get(job_id).id, desk=self.desk)

    def adopt(self, whose: str, remote_id: str) -> Job:
        """Take in a job made elsewhere (`whose` is its provider), or say that it is one of ours (`whose` is its id)."""
        if whose in self.names():
            return jobs.adopt(whose, remote_id, desk=self.desk)
        return jobs.settle(self.store.get(whose).id, remote_id, desk=self.desk)

    def abandon(self, job_id: str) -> Job:
        """Give up a job that its provider does not have; see `jobs.abandon`."""
        return jobs.abandon(self.store.get(job_id).id, desk=self.desk)

    def model(self, job_id: str) -> TunedModel:
        """Return the model that a job made."""
        return jobs.model(self.refresh(job_id))

    def generator(self, job_id: str, *, base: bool = False) -> Generator:
        """Open a job's tuned model (or its base alone) to be asked; close it after use.

        Raises `RefusedError` where what is asked may not go to the job's provider.
        """
        job = self.store.get(job_id)
        self._permit(job, act="ask", data=DataReport(files=()))
        return self._generator(job, base=base)

    def _generator(self, job: Job, *, base: bool) -> Generator:
        provider = self.provider(job.provider)
        if not isinstance(provider, Generates):
            raise UsageError(f"models at {job.provider} cannot be asked from here", fix=f"anytune export {job.id}")
        opened = provider.generator(base=job.plan.spec.model, tuned=None if base else self.model(job.id))
        return opened if job.plan.capabilities.local else jobs.Patient(opened, self._clock)

    def _permit(self, job: Job, *, act: Act, data: DataReport) -> None:
        """Let data go to a job's provider, as it is reached now, or raise `RefusedError`."""
        placed = self._placed(self.provider(job.provider).capabilities(job.plan.spec.model))
        jobs.permit(job, act=act, data=data, capabilities=placed, desk=self.desk)

    def answers(self, job_id: str) -> bool:
        """Tell whether a job's models can be asked from here."""
        return isinstance(self.provider(self.store.get(job_id).provider), Generates)

    def export(self, job_id: str, *, to: str, out: Path) -> dict[str, Any]:
        """Write a job's model into the folder `out` and return its manifest."""
        return jobs.export(self.refresh(job_id), to=to, out=out, desk=self.desk)

    def evaluate(
        self,
        job_id: str,
        *,
        test: Path | None = None,
        limit: int | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> EvalReport:
        """Ask base and tuned model the held-out questions and compare; the report is kept beside the jobs."""
        job = self.store.get(job_id)
        wanted = job.plan.spec.evaluation
        path = test or job.plan.spec.data.test
        if path is None:
            raise UsageError(f"{job.id} has no test data", fix="give --test FILE, or data.test in the job file")
        if known := _trained_on(path, job):
            raise RefusedError(f"{path} is the job's {known} data: it is not held out", fix="give --test FILE")
        questions = evals.read(path, limit=limit or wanted.limit)
        if not job.plan.capabilities.local:
            self._permit(job, act="evaluate", data=self._alone(job.plan.spec).report(job.plan.spec, {"test": path}))
        started = self._clock.monotonic()
        answers: list[list[str]] = []
        for side, base in enumerate((True, False)):
            with closing(self._generator(job, base=base)) as generator:
                said = generator.answer([q.chat for q in questions], max_new_tokens=wanted.max_new_tokens)
                answers.append(list(_told(said, progress, start=side * len(questions), of=2 * len(questions))))
        report = evals.compare(
            questions,
            answers[0],
            answers[1],
            spec=wanted,
            job_id=job.id,
            base=job.plan.spec.model,
            tuned=self.model(job.id).name,
            test_file=str(path),
            seconds=self._clock.monotonic() - started,
        )
        own = path == job.plan.spec.data.test and limit is None
        evals.save(report, self._kept(job) if own else self._kept(job).with_suffix(f".{path.stem}.json"))
        return report

    def audit(self, job_id: str | None = None) -> tuple[Sequence[Link], int | None]:
        """Return the decisions about a job's data (all if None), and where the whole chain is broken, if it is."""
        links = self.store.decisions()
        wanted = None if job_id is None else self.store.get(job_id).id
        return [one for one in links if wanted in (None, one.decision.job_id)], first_broken(links)

    def kept_evaluation(self, job_id: str) -> EvalReport | None:
        """Return the last whole comparison on the job's own test data, None if there is none."""
        job = self.store.get(job_id)
        kept, test = self._kept(job), job.plan.spec.data.test
        if test is None or not (kept.is_file() and test.is_file()):
            return None
        if test.stat().st_mtime > kept.stat().st_mtime:
            return None  # the questions may be others by now
        report = EvalReport.model_validate_json(kept.read_bytes())
        return report if report.test_file == str(test) else None

    def opening(self, job_id: str) -> str | None:
        """Return the system message with which the job's first training chat begins, if there is one at hand."""
        train = next((f.path for f in self.store.get(job_id).plan.files if f.role == "train"), None)
        if train is None:
            return None  # a job made elsewhere
        try:
            first = evals.read(train, limit=1)[0].chat[0]
        except AnytuneError:
            return None
        return str(first["content"]) if first.get("role") == "system" else None

    def catalogs(self) -> list[catalog.Catalog]:
        """Return what is known of models and prices, for each provider that has a catalogue."""
        return look_at.catalogs()

    def _kept(self, job: Job) -> Path:
        return self.settings.home / "evals" / f"{job.id}.json"


def _host(address: str) -> str:
    """Return the host and port of an address, without a name and password before them."""
    return urlsplit(address).netloc.rpartition("@")[2]


def _each(read: Callable[..., TuneSpec], names: Sequence[str]) -> Iterator[TuneSpec]:
    """Yield a job file as it is for each provider for which it can be read; its own plan tells why another cannot."""
    for name in names:
        with suppress(AnytuneError):
            yield read(provider=name)


def _trained_on(path: Path, job: Job) -> str | None:
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return next((known.role for known in job.plan.files if known.sha256 == digest), None)


def _told(answers: Iterator[str], progress: Callable[[int, int], None], *, start: int, of: int) -> Iterator[str]:
    for done, answer in enumerate(answers, start + 1):
        progress(done, of)
        yield answer
