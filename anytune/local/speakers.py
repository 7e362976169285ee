"""The processes that answer: one that goes through a list of chats, or one that many ask at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytune.errors import NotFoundError, RejectedError
from anytune.local import base_model, judge, settings
from anytune.local.ask import ChildGenerator
from anytune.local.confine import confined
from anytune.local.processes import worker_command, worker_environment
from anytune.schema.model import TunedModel

if TYPE_CHECKING:
    from anytune.local.engine import Engine


def one(base: str, tuned: TunedModel | None, beside: TunedModel | None) -> ChildGenerator:
    """Start a process that answers with the tuned model, or with the base alone.

    A base alone is quantised as that of the model `beside` it, so that the two differ by what was learnt; as QLoRA's
    where there is none.
    """
    arguments = ["--base", settings.stable_name(base)]
    if tuned is not None:
        arguments += ["--tuned", str(_folder(tuned))]
    elif quantize := _under(beside):
        arguments += ["--quantize", quantize]
    return ChildGenerator(confined(worker_command("generate", *arguments)), worker_environment())


def many(tuned: Mapping[str, TunedModel]) -> Engine:
    """Make one process ready that answers with each of these models, and with their base by its own name.

    They must be adapters of the same base, quantised alike; a wholly trained model is served by itself.
    """
    folders = {name: _folder(model) for name, model in tuned.items()}
    origins = {name: _origin(folder) for name, folder in folders.items()}
    if any(origin.get("says", "words") != "words" for origin in origins.values()):
        raise RejectedError(judge.SILENT, fix=judge.JUDGES)
    if not all(origin["adapter"] for origin in origins.values()):
        (name, folder), *others = folders.items()
        if others:
            raise RejectedError(f"{name} has weights of its own: it cannot share a process", fix="serve it alone")
        return _engine("--base", str(folder), "--alone", name, names=(name,))
    _require_alike(origins)
    base = str(next(iter(origins.values()))["base"])
    named = [part for name, folder in folders.items() for part in ("--tuned", name, str(folder))]
    alone = Path(base).name if Path(base).is_dir() else base
    return _engine("--base", base, "--alone", alone, *named, names=(*folders, alone))


def _engine(*arguments: str, names: tuple[str, ...]) -> Engine:
    from anytune.local.engine import Engine  # asyncio is behind it, for those alone who serve

    return Engine(confined(worker_command("serve", *arguments)), worker_environment(), names=names)


def _folder(tuned: TunedModel) -> Path:
    return Path(tuned.path or tuned.name)


def _origin(folder: Path) -> dict[str, Any]:
    """Return what a tuned model was made from, as its folder says."""
    found = base_model.read(folder / "anytune.json")
    if found is None:
        raise NotFoundError(f"{folder} is no model that anytune has tuned: it has no anytune.json")
    return found


def _under(tuned: TunedModel | None) -> str | None:
    """Return how the base under a tuned model is quantised; as QLoRA's where there is none, or no more."""
    found = base_model.read(_folder(tuned) / "anytune.json") if tuned is not None else None
    return "nf4" if found is None else found["quantize"]


def _require_alike(origins: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `RejectedError` where adapters do not stand on the same weights."""
    (first, one), *others = origins.items()
    for name, other in others:
        for key in ("base_fingerprint", "quantize", "dtype"):
            if one[key] != other[key]:
                what = "another base" if key == "base_fingerprint" else f"its base as {other[key] or 'it is'}"
                raise RejectedError(f"{name} stands on {what}, {first} does not", fix="serve them apart")
