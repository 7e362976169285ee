"""How far to look at data: what a user wishes, turned into what the check needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anytune.data.check import Wish
from anytune.errors import UsageError

if TYPE_CHECKING:
    from anytune.catalog import Catalog
    from anytune.data.tokens import Counter


class Look(NamedTuple):
    """Say what is to be looked at beyond the rules.

    `model` is the base model whose tokenizer counts and whose limit holds, unless `max_length` is another limit;
    `exact` counts all records, not a sample. `against` is a held-out file of which nothing may stand in the others.
    `near` compares by likeness, too. `private` looks for all kinds of private data.
    """

    model: str | None = None
    max_length: int | None = None
    exact: bool = False
    against: Path | None = None
    near: bool = False
    private: bool = False


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
    return Wish(
        counter=counter,
        exact=look.exact,
        limit=look.max_length or limit,
        against=look.against,
        near=look.near,
        private=_kinds(look, block),
    )


def _counter(provider: str | None, model: str | None, catalogs: Sequence[Catalog]) -> tuple[Counter, int | None]:
    """Return what counts a model's tokens, and how many an example may have; with no model, the most that any takes."""
    from anytune.data.tokens import counter_for

    named = [c for c in catalogs if c.provider == (provider or c.provider)]
    for listed in named:
        entry = listed.models.get(model or "")
        if entry is not None:
            return counter_for(listed.provider, model), entry.max_length
    if provider in (None, "local") and model is not None:
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
