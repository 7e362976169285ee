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
    from anytune import providers
    from anytune.errors import AnytuneError, CredentialError, UsageError

    if only is not None:
        tuner.provider(only)  # a wrong name ends here
    for name in (only,) if only is not None else providers.names():
        known = _known(tuner, name)
        try:
            kept = tuner.ask_models(name)
        except (CredentialError, UsageError) as error:
            yield Asked(name, ok=False, said=error.message, exit_code=error.exit_code)
            continue
        except AnytuneError as error:
            yield Asked(name, ok=False, said=error.message, exit_code=1)
            continue
        if kept is None:
            if only is not None:
                raise UsageError(
                    f"{name} has no list of models to be asked for", fix=f"anytune models --provider {name}"
                )
            continue
        now = set(kept.offer.models)
        new, lost = tuple(sorted(now - known)), tuple(sorted(known - now)) if kept.offer.whole else ()
        yield Asked(name, ok=True, said=kept.offer.source, models=len(now), new=new, lost=lost)


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
