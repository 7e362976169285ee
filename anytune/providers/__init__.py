"""Providers by name; each is a string until it is used, so that `--help` imports no SDK."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from anytune import catalog
from anytune.config import nearest
from anytune.errors import UsageError
from anytune.providers.base import Profile, Provider

OPENAI = "anytune.providers.openai:OpenAIProvider"
BUILT_IN = {
    "local": "anytune.local.provider:LocalProvider",
    "openai": OPENAI,
    "azure": OPENAI,
    "nebius": OPENAI,
    "together": "anytune.providers.together:TogetherProvider",
    "fireworks": "anytune.providers.fireworks:FireworksProvider",
    "replicate": "anytune.providers.replicate:ReplicateProvider",
    "hf-jobs": "anytune.local.hf_jobs:HFJobsProvider",
    "ray": "anytune.local.ray_jobs:RayProvider",
}


def names() -> tuple[str, ...]:
    """List every provider that can be named: built in, and plugged in by the entry point `anytune.providers`."""
    return (*BUILT_IN, *(name for name in _plugged_in() if name not in BUILT_IN))


def load(name: str, profile: Profile) -> Provider:
    """Make the provider of that name, or of the one that its profile is like; raise `UsageError` for none."""
    if profile.like is not None:
        _require_dialect(name, profile.like)
    target = BUILT_IN.get(profile.like or name) or _plugged_in().get(name)
    if target is None:
        raise gone(name) or UsageError(f"no provider is called {name!r}", fix=nearest(name, names()))
    module, _, attribute = target.partition(":")
    provider: Provider = getattr(import_module(module), attribute)(profile)
    return provider


def gone(name: str) -> UsageError | None:
    """Return the answer to the name of a provider that takes no jobs any more, None for any other."""
    return catalog.gone(name, known=names())


def _require_dialect(name: str, like: str) -> None:
    spoken = [each for each, target in BUILT_IN.items() if target == OPENAI]
    if name in BUILT_IN or name in _plugged_in():
        raise UsageError(f"profiles.{name}.like: {name} is a provider already", fix="give the profile another name")
    if like not in spoken:
        raise UsageError(f"profiles.{name}.like: {like!r} is none of {', '.join(spoken)}")


@cache
def _plugged_in() -> dict[str, str]:
    """Return where the providers that other packages bring stand, by name; the first of a name has it."""
    found: dict[str, str] = {}
    for each in entry_points(group="anytune.providers"):
        found.setdefault(each.name, each.value)
    return found
