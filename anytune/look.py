"""Check data as far as a user wishes, with the settings that hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anytune.data import check as data_check
from anytune.data.check import BUILT_IN, Asker, Wish
from anytune.data.check.rules.base import OUR_TRAINER
from anytune.errors import AnytuneError, UsageError
from anytune.schema.data import DataMethod, DataReport, Role
from anytune.schema.training import OVER_LENGTH, OverLength

if TYPE_CHECKING:
    from anytune.catalog import Catalog
    from anytune.config import Settings
    from anytune.data.privacy.text import Finder
    from anytune.data.tokens import Counter
    from anytune.schema.spec import TuneSpec


class Look(NamedTuple):
    """Say what is to be looked at beyond the rules.

    `model` is the base model whose tokenizer counts and whose limit holds, unless `max_length` is another limit;
    `over_length` is what our own trainer does with longer records. `exact` counts all records, not a sample. `against`
    is a held-out file of which nothing may stand in the others. `near` compares by likeness, too. `private` looks for
    all kinds of private data, `names` for what it finds beside them, such as names of people.
    """

    model: str | None = None
    max_length: int | None = None
    over_length: OverLength | None = None
    exact: bool = False
    against: Path | None = None
    near: bool = False
    private: bool = False
    names: Finder | None = None


class Checks:
    """Check the data of jobs so that a file is read once for all that train on it alike.

    `jobs` returns all of them, and is asked when the first is checked; `asker` says for whom one is, and may raise:
    that job is then checked by itself.
    """

    def __init__(self, jobs: Callable[[], Iterable[TuneSpec]], asker: Callable[[TuneSpec], Asker]) -> None:
        self._jobs = jobs
        self._asker = asker
        self._known: dict[tuple[Any, ...], dict[str, DataReport]] = {}

    def report(self, job: TuneSpec, files: Mapping[Role, Path] | Sequence[Path]) -> DataReport:
        """Return what a job's provider minds in these files of its data; those of a sequence are all to learn from."""
        named = files.items() if isinstance(files, Mapping) else files
        known = self._known.setdefault((job.data_method, *named), {})
        if job.provider not in known:
            askers = {job.provider: self._asker(job)}
            for other in self._jobs():
                if other.provider not in askers and _trains_alike(other, job):
                    with suppress(AnytuneError):
                        askers[other.provider] = self._asker(other)
            known |= data_check.check_each(files, askers, method=job.data_method)
        return known[job.provider]


def _trains_alike(one: TuneSpec, other: TuneSpec) -> bool:
    def data(job: TuneSpec) -> tuple[Any, ...]:
        return job.method, job.data.train, job.data.validation, job.data.test, job.data.split

    return data(one) == data(other)


def check(
    paths: Sequence[Path],
    *,
    settings: Settings | None = None,
    for_providers: tuple[str, ...] = BUILT_IN,
    method: DataMethod = "sft",
    ignore: frozenset[str] = frozenset(),
    show: int = 20,
    look: Look | None = None,
) -> DataReport:
    """Check data files for these providers; what the settings pass over or block holds, too (None: there are none)."""
    block: frozenset[str] = frozenset()
    if settings is not None:
        ignore |= frozenset(settings.check.ignore)
        block |= frozenset(settings.policy.privacy.block)
    known = catalogs(settings) if look or len(for_providers) == 1 else []
    further = wish(look or Look(), for_providers, known, block)
    return data_check.check(paths, providers=for_providers, method=method, ignore=ignore, show=show, wish=further)


def catalogs(settings: Settings | None = None) -> list[Catalog]:
    """Return what is known of models and prices, for each provider of which anything is."""
    from anytune import catalog, providers

    if settings is not None:
        from anytune.clock import SystemClock
        from anytune.offers import Offers

        return Offers(settings, today=lambda: SystemClock().now().date()).all()
    found = []
    for name in providers.names():
        with suppress(UsageError):
            found.append(catalog.load(name))
    return found


def wish(look: Look, providers: Sequence[str], catalogs: Sequence[Catalog], block: frozenset[str]) -> Wish:
    """Return what the check needs for a look; kinds of private data that a policy would `block` are looked for, too.

    Tokens are counted for one provider or a named model only: two providers may count differently.
    """
    counter: Counter | None = None
    limit = None
    provider = providers[0] if len(providers) == 1 else None
    if provider is not None or look.model is not None:
        counter, limit = _counter(provider, look.model, catalogs)
    if counter is None and (look.exact or look.max_length):
        what = "an exact count" if look.exact else "a limit"
        raise UsageError(f"{what} needs a tokenizer to count with", fix="name one provider or a model: --for, --model")
    if look.exact and _is_rough(counter):
        fix = "pip install 'anytune[tokens]', or name a model with a tokenizer at hand: --model"
        raise UsageError("no tokenizer is at hand to count exactly with", fix=fix)
    return Wish(
        counter=counter,
        exact=look.exact,
        limit=look.max_length or limit,
        over_length=(look.over_length or OVER_LENGTH) if provider in OUR_TRAINER else None,
        against=look.against,
        near=look.near,
        private=_kinds(look, block),
        names=look.names,
    )


def _is_rough(counter: Counter | None) -> bool:
    from anytune.data.tokens.rough import Rough

    return isinstance(counter, Rough)


def _counter(provider: str | None, model: str | None, catalogs: Sequence[Catalog]) -> tuple[Counter, int | None]:
    """Return what counts a model's tokens, and how many an example may have; with no model, the most that any takes."""
    from anytune.data.tokens import counter_for

    named = [c for c in catalogs if c.provider == (provider or c.provider)]
    for listed in named:
        entry = listed.models.get(model or "")
        if entry is not None:
            return counter_for(listed.provider, model), entry.max_length
    if provider in (None, *OUR_TRAINER) and model is not None:
        return counter_for("local", model, folder=_folder(model)), None
    limits = [entry.max_length for listed in named for entry in listed.models.values() if entry.max_length]
    return counter_for(provider or "local", model), max(limits, default=None)


def _folder(model: str) -> Path | None:
    from anytune.local.base_model import locate

    return locate(model)


def _kinds(look: Look, block: frozenset[str]) -> frozenset[str]:
    if not look.private:
        return block
    from anytune.data.privacy import KINDS

    return frozenset(KINDS)
