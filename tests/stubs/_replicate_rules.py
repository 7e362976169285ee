"""What Replicate's stand-in refuses, and what its trainer takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.stubs._http import Refuse, Reply

Kind = Callable[[Any], bool]

HARDWARE = {"cpu", "gpu-t4", "gpu-a40-large"}
KINDS: dict[str, Kind] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
}
MODEL: dict[str, Kind] = {
    "owner": KINDS["string"],
    "name": KINDS["string"],
    "visibility": lambda value: value in ("public", "private"),
    "hardware": lambda value: value in HARDWARE,
    "description": KINDS["string"],
}
TRAINING: dict[str, Kind] = {
    "destination": KINDS["string"],
    "input": lambda value: isinstance(value, dict),
}
INPUTS = {
    "train_data": "string",
    "validation_data": "string",
    "num_train_epochs": "integer",
    "train_batch_size": "integer",
    "micro_batch_size": "integer",
    "learning_rate": "number",
    "lora_rank": "integer",
    "lora_alpha": "integer",
    "lora_dropout": "number",
    "run_validation": "boolean",
    "seed": "integer",
}


def refusal(status: int, detail: Any, *, title: str | None = None) -> Refuse:
    """Refuse as the API does: with a title at times, with `detail` always."""
    head = {"title": title} if title else {}
    return Refuse(Reply(status, {**head, "detail": detail, "status": status}))


def checked(body: Any, kinds: Mapping[str, Kind], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the body if it holds these fields, of these kinds, and no others."""
    if not isinstance(body, dict):
        raise refusal(400, "the body is no object")
    faults = [(name, "unknown field") for name in body if name not in kinds]
    faults += [(name, "field required") for name in required if name not in body]
    faults += [(name, "wrong kind") for name, value in body.items() if name in kinds and not kinds[name](value)]
    if faults:
        detail = [{"loc": ["body", name], "msg": f"{name}: {said}"} for name, said in faults]
        raise refusal(422, detail, title="Input validation failed")
    return body


def schema(inputs: Mapping[str, str], *, required: tuple[str, ...]) -> dict[str, Any]:
    """Describe a version as Cog does: an OpenAPI description whose `TrainingInput` names the inputs."""
    properties = {name: {"type": kind, "title": name, "x-order": n} for n, (name, kind) in enumerate(inputs.items())}
    made = {"type": "object", "title": "TrainingInput", "required": list(required), "properties": properties}
    return {"openapi": "3.0.2", "components": {"schemas": {"Input": {"type": "object"}, "TrainingInput": made}}}


def checked_input(given: dict[str, Any], inputs: Mapping[str, str], *, required: tuple[str, ...]) -> dict[str, Any]:
    """Return what a trainer reads of an input: unknown names are passed over without a word."""
    known = {name: value for name, value in given.items() if name in inputs}
    return checked(known, {name: KINDS[kind] for name, kind in inputs.items()}, required=required)


def iso(at: datetime) -> str:
    """Write a time as the API does, with nanoseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
