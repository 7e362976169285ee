"""Ask the providers which models they tune: what came of it for each, and what that makes of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from anytune.ui.nouns import Asked

if TYPE_CHECKING:
    from anytune.tuner import Tuner


def ask(tuner: Tuner, *, only: str | None = None) -> Iterator[Asked]:
    """Ask each provider that has a list, or only this one; what one answers, or does not, leaves the others alone."""
    from anytune.errors import UsageError
    from anytune.providers.base import Lists

    names = tuner.reach.names() if only is None else (only,)
    able = [name for name in names if isinstance(tuner.provider(name), Lists)]
    if only is not None and not able:
        fix = f"anytune models --provider {only}"
        raise UsageError(f"{only} has no list of models to be asked for", fix=fix)
    for name in able:
        yield _asked(tuner, name)


def _asked(tuner: Tuner, name: str) -> Asked:
    from anytune.errors import AnytuneError, CredentialError, UsageError
    from anytune.ui import asking

    known = _known(tuner, name)
    try:
        tuner.reach.profile(name).key()  # or one that has none would be said to be asked
        offer = asking.waiting(f"asking {name}", lambda: tuner.ask_models(name)).offer
    except (CredentialError, UsageError) as error:
        return Asked(name, ok=False, said=error.message, exit_code=error.exit_code)
    except AnytuneError as error:
        return Asked(name, ok=False, said=error.message, exit_code=1)
    new = tuple(sorted(set(offer.models) - known))
    lost = tuple(sorted(known - set(offer.models))) if offer.whole else ()
    return Asked(name, ok=True, said=offer.source, models=len(offer.models), new=new, lost=lost)


def _known(tuner: Tuner, name: str) -> set[str]:
    """Name the models that were known before; an old list that cannot be read says nothing of them."""
    from anytune import catalog
    from anytune.errors import UsageError

    for source in (tuner.offers.of, catalog.load):
        with suppress(UsageError):
            found = source(name)
            return set(found.models) if found else set()
    return set()


def exit_code(asked: Sequence[Asked]) -> int:
    """Return 0 if somebody answered and nobody failed; who is not set up here (no key, no address) is no failure."""
    faults = [one.exit_code for one in asked if not one.ok]
    if 1 in faults:
        return 1
    if any(one.ok for one in asked):
        return 0
    return 6 if 6 in faults else max(faults, default=0)
