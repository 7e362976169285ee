"""A model that a provider tunes, by its catalogue: for tests that name no provider."""

from __future__ import annotations

from anytune import catalog
from anytune.schema.training import Method

VERSION = "a" * 64


def a_model(provider: str, method: Method = "sft") -> str:
    """Return the first model that is tuned by this method, with a version where it goes by its trainer's."""
    known = catalog.load(provider).models
    fitting = [name for name, entry in known.items() if method in entry.methods] or list(known)
    if not fitting:
        return "some-owner/some-model"
    return fitting[0] if known[fitting[0]].trainer is None else f"{fitting[0]}:{VERSION}"
