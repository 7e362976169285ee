"""The job file, with `--set` and the overrides of the chosen provider."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from anytune.config.document import Document, loaded, merge, problem, validated
from anytune.config.place import expanded
from anytune.errors import UsageError
from anytune.schema.reward import Reward
from anytune.schema.spec import TuneSpec


def load_job(
    path: Path,
    *,
    changes: Sequence[str] = (),
    provider: str | None = None,
    model: str | None = None,
    known: Sequence[str] = (),
    gone: Callable[[str], UsageError | None] = lambda _: None,
) -> TuneSpec:
    """Read a job file, apply `--set` changes, and settle provider, model, overrides and paths.

    What `--set` says stands above the file's overrides, too: nobody types it to see it passed over.

    `known` names the providers that there are, and `gone` has the answer to one that was there once. Raises
    `UsageError` with file, line and column for what is wrong.
    """
    document = Document(path)
    data = _all_changed(document.data, changes)
    document.changed += [change.partition("=")[0].split(".") for change in changes]
    if provider is not None:
        data = {**data, "provider": provider}
    spec: TuneSpec = validated(TuneSpec, data, document)
    if override := spec.overrides.get(spec.provider):
        above = _all_changed(merge(data, override), changes)
        spec = validated(TuneSpec, {**above, "provider": spec.provider}, document)
    for name in (spec.provider, *spec.fallback):
        if known and name not in known:
            raise gone(name) or UsageError(f"no provider is called {name!r}", fix=nearest(name, known))
    chosen = model or spec.models.get(spec.provider) or spec.model
    if not chosen:
        raise UsageError(
            f"{path}: no model for provider {spec.provider!r}",
            fix=f"give model, or models: {{{spec.provider}: …}}",
        )
    return _settled(spec, folder=path.absolute().parent, model=chosen)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return which of the known names was meant, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of the job file, for editors."""
    schema: dict[str, Any] = TuneSpec.model_json_schema()
    return schema


def _settled(spec: TuneSpec, *, folder: Path, model: str) -> TuneSpec:
    def placed(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder / expanded(path)))

    others = {name: placed(getattr(spec.data, name)) for name in ("validation", "test")}
    sources = tuple(source.model_copy(update={"path": placed(source.path)}) for source in spec.data.sources)
    train = sources[0].path if isinstance(spec.data.train, Path) else sources
    data = spec.data.model_copy(update={"train": train, **others})

    def made(named: str | None) -> str | None:
        """Return the folder of a tuned model from here, or the job that it is called by."""
        is_folder = named is not None and (named.startswith((".", "/", "~")) or os.path.isdir(folder / named))
        return str(placed(Path(str(named)))) if is_folder else named

    rewards = tuple(_kept(reward, placed).model_copy(update={"model": made(reward.model)}) for reward in spec.rewards)
    evaluation = spec.evaluation.model_copy(update={"database": placed(spec.evaluation.database)})
    if model.startswith((".", "/", "~")) or (spec.provider == "local" and os.path.isdir(folder / model)):
        model = str(placed(Path(model)))
    return spec.model_copy(
        update={
            "model": model,
            "models": {},
            "overrides": {},
            "data": data,
            "rewards": rewards,
            "from_checkpoint": made(spec.from_checkpoint),
            "evaluation": evaluation,
        }
    )


def _kept(reward: Reward, placed: Callable[[Path | None], Path | None]) -> Reward:
    """Return a reward with what its file holds; raise `UsageError` where that cannot be read."""
    named = Path(str(reward.function).rpartition(":")[0]) if reward.in_file else reward.file
    path = placed(named)
    if path is None or (reward.in_file and reward.text is not None):
        return reward
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path}: the file of a reward cannot be read: {why}", fix="mend the path") from error
    return reward.model_copy(update={"file": path, "text": text})


def _all_changed(data: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    for change in changes:
        data = _changed(data, change)
    return data


def _changed(data: dict[str, Any], change: str) -> dict[str, Any]:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {change!r} is not KEY=VALUE", fix="for example --set training.epochs=1")
    try:
        value, _ = loaded(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {path}: {text[:80]!r} is not YAML: {problem(error)}") from error
    for key in reversed(path.split(".")):
        value = {key: value}
    merged: dict[str, Any] = merge(data, value)
    return merged
