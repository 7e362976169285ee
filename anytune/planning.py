"""From a job file to its plans: the settings that hold, the data that it names, and each provider asked offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from pathlib import Path

from anytune import config, planner, providers
from anytune import look as look_at
from anytune.config import Settings
from anytune.data import mix
from anytune.data import split as data_split
from anytune.data.check import Asker
from anytune.data.check.rules.base import OUR_TRAINER
from anytune.errors import AnytuneError, GoneError, RefusedError, UsageError
from anytune.look import Checks, Look
from anytune.offers import Offers
from anytune.providers.base import Estimates, Foresees, Provider
from anytune.reach import Reach
from anytune.schema.data import DataReport, FileReport, Role
from anytune.schema.plan import Plan, ResourceEstimate
from anytune.schema.spec import TuneSpec

TO_BE_KNOWN = {"job_id": "<job id>", "training_file": "<file id>"}


@dataclass(frozen=True)
class Foresight:
    """Say for which GPUs a run is foretold beside this machine, and whether by a step of the real model class."""

    gpus: tuple[str, ...] = ()
    exact: bool = False

    @property
    def wanted(self) -> bool:
        """Tell whether anything was asked for."""
        return bool(self.gpus) or self.exact


class Planning:
    """Read job files and plan them; nothing is sent, and no key is needed."""

    def __init__(self, settings: Settings, *, reach: Reach, offers: Offers, today: Callable[[], date]) -> None:
        self._settings = settings
        self._reach = reach
        self._offers = offers
        self._today = today

    def read(
        self,
        job_file: Path | str,
        *,
        changes: Sequence[str] = (),
        provider: str | None = None,
        model: str | None = None,
    ) -> TuneSpec:
        """Read a job file for one provider."""
        return config.load_job(
            Path(job_file),
            changes=changes,
            provider=provider,
            model=model,
            known=self._reach.names(),
            gone=providers.gone,
        )

    def every(
        self, job_file: Path | str, *, changes: Sequence[str] = (), model: str | None = None, force: bool = False
    ) -> Iterator[tuple[str, Plan | UsageError]]:
        """Plan a job file for every provider; one for which it names no model yields the reason, as does its own
        provider if that takes no jobs any more.

        Raises `UsageError` for a job file that no provider could be planned from.
        """
        try:
            self.read(job_file, changes=changes, model=model or "any")
        except GoneError as error:
            yield error.provider, error
        names = self._reach.names()
        read = cache(partial(self.read, job_file, changes=changes, model=model))
        checks = Checks(partial(_each, read, names), self._asker)
        for name in names:
            try:
                yield name, self.plan(read(provider=name), force=force, checks=checks)
            except UsageError as error:
                yield name, error
            except RefusedError as error:
                yield name, UsageError(error.message, fix=error.fix)

    def plan(
        self, spec: TuneSpec, *, force: bool = False, checks: Checks | None = None, foresight: Foresight | None = None
    ) -> Plan:
        """Decide what a submit would do: offline, without a key, sending nothing.

        `checks` are shared with the plans of other jobs, so that data which these have in common are read once.
        """
        provider = self._reach.provider(spec.provider)
        capabilities = self._reach.capabilities(spec.provider, spec.model)
        data = self.checked(spec, checks=checks)
        draft = planner.make(
            spec,
            data,
            capabilities,
            policy=self._settings.policy,
            today=self._today(),
            machines=_machines(provider, spec, data, foresight),
            force=force,
        )
        return draft if draft.refused else _rendered(draft, provider)

    def held_out(self, spec: TuneSpec, path: Path, *, block: frozenset[str]) -> DataReport:
        """Check a file that is held out of a job as the job's own data are, and for all that is to `block`."""
        privacy = spec.data.privacy.model_copy(update={"block": tuple(sorted(block))})
        bound = spec.model_copy(update={"data": spec.data.model_copy(update={"privacy": privacy})})
        return self._alone(bound).report(bound, {"test": path})

    def checked(self, spec: TuneSpec, *, checks: Checks | None = None) -> DataReport:
        """Check the user's files; several to learn from are made one, and a wanted split is made of it.

        Both are done of files without errors, once, and kept beside the jobs.
        """
        checks = checks or self._alone(spec)
        train = spec.data.sources[0].path
        parts: tuple[FileReport, ...] = ()
        if not isinstance(spec.data.train, Path):
            sources = spec.data.sources
            parts = mix.of_parts(checks.report(spec, [source.path for source in sources]))
            if any(part.errors for part in parts):
                return DataReport(files=parts)
            train, taken = mix.kept(sources, folder=self._settings.home / "mixed")
            parts = mix.counted(parts, sources, taken)
        named: dict[Role, Path] = {"train": train}
        named |= {"validation": spec.data.validation} if spec.data.validation else {}
        named |= {"test": spec.data.test} if spec.data.test else {}
        report = mix.of_whole(checks.report(spec, named), parts)
        if spec.data.split is None or not report.ok:
            return report
        folder = self._settings.home / "splits"
        named["train"], named["validation"] = data_split.kept(train, share=spec.data.split, folder=folder)
        return mix.of_whole(checks.report(spec, named), parts)

    def _alone(self, spec: TuneSpec) -> Checks:
        return Checks(lambda: (spec,), self._asker)

    def _asker(self, spec: TuneSpec) -> Asker:
        """Return how a job's data are checked: for its provider, model and length, and for what may not leave."""
        judges = (self._reach.kind(spec.provider),)
        look = Look(spec.model or None, _limit(spec, judges[0]), spec.training.over)
        block = frozenset[str]((*spec.data.privacy.block, *self._settings.policy.privacy.block))
        wish = look_at.wish(look, judges, self._offers.all(), block)
        return Asker(judges, frozenset(self._settings.check.ignore), wish)


def _limit(spec: TuneSpec, kind: str) -> int | None:
    """Return how many tokens an example may have: as asked, or as our own trainer would choose."""
    if isinstance(spec.training.max_length, int):
        return spec.training.max_length
    if kind not in OUR_TRAINER or not spec.model:
        return None
    from anytune.local.settings import longest

    return longest(spec, spec.training)


def _machines(
    provider: Provider, spec: TuneSpec, data: DataReport, foresight: Foresight | None
) -> tuple[ResourceEstimate | None, ...]:
    """Ask a provider that trains on the user's machine what it needs there, and on the GPUs that are named."""
    if foresight is not None and foresight.wanted:
        if not isinstance(provider, Foresees):
            raise UsageError(
                f"--gpu and --exact ask about a machine of your own, and {spec.provider} trains on its own",
                fix="leave them out, or plan with --provider local",
            )
        return provider.foresee(spec, data, gpus=foresight.gpus, exact=foresight.exact)
    return (provider.estimate(spec, data) if isinstance(provider, Estimates) else None,)


def _rendered(draft: Plan, provider: Provider) -> Plan:
    """Return the plan with the request that it comes to, and with what stands there for each setting."""
    validation = "<file id>" if draft.data.role("validation") else None
    try:
        request = provider.render(draft.spec, **TO_BE_KNOWN, validation_file=validation)
    except (UsageError, RefusedError) as error:
        why = f"{error.message}: {error.fix}" if error.fix else error.message
        return draft.model_copy(update={"refused": (why,)})
    return draft.model_copy(update={"request": request, "settings": planner.as_sent(draft.settings, request)})


def _each(read: Callable[..., TuneSpec], names: Sequence[str]) -> Iterator[TuneSpec]:
    """Yield a job file as it is for each provider for which it can be read; its own plan tells why another cannot."""
    for name in names:
        with suppress(AnytuneError):
            yield read(provider=name)
