"""A fine-tuning job of OpenAI's as its API shows or takes it, read as a job file for another model on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anytune.errors import UsageError
from anytune.recipe.tool import Reading
from anytune.schema.reward import ELSEWHERE

NAME, TITLE = "openai", "a job of OpenAI's API"
SOURCE = "OpenAI's API reference: the fine-tuning job object and its graders"
METHODS = {"supervised": "sft", "dpo": "dpo", "reinforcement": "rft"}
# What says how a job went or who it is of, not what it learns.
PASSED_OVER = frozenset(
    (
        *("object", "id", "created_at", "finished_at", "estimated_finish", "fine_tuned_model", "organization_id"),
        *("result_files", "status", "error", "trained_tokens", "metadata", "usage_metrics", "shared_with_openai"),
    )
)
RATE = "it multiplies a base rate that OpenAI does not disclose: the trainer's own rate is taken; set learning_rate"
_TERM = re.compile(r"\s*(?:(?P<weight>-?\d+(?:\.\d+)?)\s*\*\s*)?(?P<name>[A-Za-z_]\w*)\s*")


def recognised(document: Mapping[str, Any]) -> bool:
    """Tell whether a document is such a job, or the request for one."""
    asked = {"model", "training_file"} <= document.keys() and ("method" in document or "hyperparameters" in document)
    return document.get("object") == "fine_tuning.job" or asked


def read(document: Mapping[str, Any], path: Path, *, model: str | None) -> Reading:
    """Read a job as what trains `model` here; what is not taken over is refused by name.

    The data are looked for beside the file, by the id that OpenAI gave them. Raises `UsageError` without a model or
    training data, and for a grader that cannot judge here.
    """
    if model is None:
        raise UsageError(f"{path}: OpenAI's models are not trained here", fix="say which is, instead: --model FOLDER")
    reading = Reading(dict(document), count=lambda _: None)
    reading.keep("model", model, name="model", said=reading.take("model"), why="trained instead")
    for name, to in (("training_file", "data.train"), ("validation_file", "data.validation")):
        _file(reading, path, name, to)
    method = _part(reading.take("method"), "method", path)
    kind = str(method.get("type", "supervised"))
    if kind not in METHODS:
        raise UsageError(f"{path}: it trains by {kind}, which a job file cannot say")
    reading.keep("method", METHODS[kind], name="method.type", said=kind)
    inner = _part(method.get(kind), f"method.{kind}", path)
    older, knobs = (
        _part(said, "hyperparameters", path)
        for said in (reading.take("hyperparameters"), inner.pop("hyperparameters", None))
    )
    _knobs(reading, {**older, **knobs})
    if kind == "reinforcement":
        grader = _part(inner.pop("grader", None), "grader", path)
        found = list(_rewards(grader, path, weight=1.0))
        reading.keep("rewards", found, name="grader", said=grader.get("type"))
    for name, to in (("seed", "training.seed"), ("user_provided_suffix", "suffix"), ("suffix", "suffix")):
        if (value := reading.take(name)) is not None and to not in reading.values:
            reading.keep(to, value, name=name, said=value)
    for name, value in {**reading.left, **inner}.items():
        if name not in PASSED_OVER and value not in (None, [], {}):
            reading.refuse(name, value, "a local job has no such setting")
    return reading


def _part(said: Any, name: str, path: Path) -> dict[str, Any]:
    """Return what stands under a name, nothing where nothing does; raise `UsageError` for what has no keys."""
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise UsageError(
            f"{path}: its {name} is {str(said)[:40]!r}, where keys are expected", fix="take it as the API shows it"
        )
    return dict(said)


def _file(reading: Reading, path: Path, name: str, to: str) -> None:
    said = reading.take(name)
    if said is None:
        return
    found = next((beside for beside in (f"{said}.jsonl", str(said)) if (path.parent / beside).is_file()), None)
    if found is not None:
        reading.keep(to, found, name=name, said=said)
    elif to == "data.train":
        raise UsageError(f"{path}: its data are not here", fix=f"save OpenAI's file {said} beside it as {said}.jsonl")
    else:
        reading.refuse(name, said, f"save it beside the job as {said}.jsonl to have it")


def _knobs(reading: Reading, knobs: Mapping[str, Any]) -> None:
    names = {"n_epochs": "training.epochs", "batch_size": "training.batch_size", "beta": "training.beta"}
    for name, value in knobs.items():
        if value in (None, "auto"):
            continue
        if name in names:
            reading.keep(names[name], value, name=name, said=value)
        else:
            why = RATE if name == "learning_rate_multiplier" else "a local job has no such setting"
            reading.refuse(name, value, why)


def _rewards(grader: Mapping[str, Any], path: Path, *, weight: float) -> Iterator[dict[str, Any]]:
    """Yield what a grader comes to; raise `UsageError` for one that cannot judge here."""
    kind = str(grader.get("type"))
    weighed = {} if weight == 1 else {"weight": weight}
    if kind == "multi":
        parts = {
            name: _part(one, f"grader {name}", path)
            for name, one in _part(grader.get("graders"), "graders", path).items()
        }
        for name, part in _terms(str(grader.get("calculate_output", "")), parts, path):
            yield from _rewards(parts[name], path, weight=weight * part)
    elif kind == "python":
        name = re.sub(r"\W+", "_", str(grader.get("name") or "grader"))
        yield {"type": "python", **weighed, "function": f"{name}.py:grade", "text": grader.get("source")}
    elif kind in ELSEWHERE:
        raise UsageError(f"{path}: its grader is of type {kind}: {ELSEWHERE[kind]}")
    else:
        keys = ("type", "input", "reference", "operation")
        yield {**{key: grader[key] for key in keys if key in grader}, **weighed}


def _terms(formula: str, graders: Mapping[str, Any], path: Path) -> Iterator[tuple[str, float]]:
    for term in formula.split("+"):
        found = _TERM.fullmatch(term)
        if found is None or found["name"] not in graders:
            raise UsageError(
                f"{path}: rewards are added up by weights, and its grader's formula is no such sum: {formula[:80]!r}",
                fix="write one reward of type python that computes it",
            )
        yield found["name"], float(found["weight"] or 1)
