"""What is wrong in the published descriptions, mended in memory; each change says why.

A patch that finds nothing to mend fails: then the description has been put right, and the patch can go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Change = Callable[[Any], Any]


class Stale(Exception):
    """Say that a patch has nothing to mend any more."""


@dataclass(frozen=True)
class Patch:
    """Be one change of a description: what `where` names is put through `change`."""

    where: tuple[str | int, ...]
    reason: str
    change: Change

    def apply(self, description: dict[str, Any]) -> None:
        """Change the description in place; raise `Stale` where the fault is not."""
        holder: Any = description
        *way, last = self.where
        try:
            for step in way:
                holder = holder[step]
            before = holder.get(last) if isinstance(holder, dict) else holder[last]
            after = self.change(before)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Stale(f"no such place: {self.where}") from None
        if after == before:
            raise Stale(f"nothing to mend at {self.where}: {self.reason}")
        holder[last] = after


def put(value: Any) -> Change:
    """Put a value there."""
    return lambda _: value


def or_null(schema: Any) -> Any:
    """Allow null in the way of 3.1."""
    rest = {key: value for key, value in schema.items() if key not in {"nullable", "default"}}
    return {"anyOf": [rest, {"type": "null"}]}


def closed(schema: Any) -> Any:
    """Forbid fields that are not described."""
    return {**schema, "additionalProperties": False}


def lacking(*names: str) -> Change:
    """Take keywords away."""
    return lambda held: {key: value for key, value in held.items() if key not in names}


def renamed(old: str, new: str) -> Change:
    """Put one keyword in another's place."""
    return lambda held: {new if key == old else key: value for key, value in held.items()}


SCHEMAS = ("components", "schemas")
UNKNOWN = "no fault of the vendor's: a name that we have misspelt would pass as one that nobody knows"
NULLABLE_TEXT = {"type": ["string", "null"]}

OPENAI = (
    Patch(
        (*SCHEMAS, "FineTuningJob", "properties", "error"),
        "a healthy job comes with an error of {} or of nulls; described are three texts, or null for the whole",
        put({"type": ["object", "null"], "properties": dict.fromkeys(("code", "message", "param"), NULLABLE_TEXT)}),
    ),
    Patch(
        (*SCHEMAS, "FineTuningJob", "properties", "hyperparameters"),
        "null comes for a job whose method is dpo",
        or_null,
    ),
    *(
        Patch((*SCHEMAS, "ListFilesResponse", "properties", name), "an empty list has neither first nor last", or_null)
        for name in ("first_id", "last_id")
    ),
    *(
        Patch((*SCHEMAS, name), UNKNOWN, closed)
        for name in ("CreateFineTuningJobRequest", "FineTuneSupervisedHyperparameters", "FineTuneDPOHyperparameters")
    ),
)

TOGETHER = (
    Patch(
        (*SCHEMAS, "LRScheduler", "properties", "lr_scheduler_args"),
        "what fits the cosine's arguments fits the linear's too, so that no cosine is exactly one of both",
        renamed("oneOf", "anyOf"),
    ),
    Patch(
        (*SCHEMAS, "TrainingMethodSFT", "properties", "train_on_inputs"),
        "a boolean beside a choice of which one is the word auto: the word is never a boolean",
        lacking("type"),
    ),
    Patch(
        (*SCHEMAS, "FinetuneResponse", "properties", "id"),
        "the id of a job begins with ft-, as the description's own example has it, and is no UUID",
        lacking("format"),
    ),
    Patch(
        (
            *("paths", "/fine-tunes/estimate-price", "post", "requestBody"),
            *("content", "application/json", "schema", "properties", "training_type"),
        ),
        "null is meant to be allowed, in a way that the description's version of OpenAPI does not have",
        or_null,
    ),
    *(
        Patch((*SCHEMAS, name), UNKNOWN, closed)
        for name in ("LoRATrainingType", "FullTrainingType", "TrainingMethodSFT", "TrainingMethodDPO", "LRScheduler")
    ),
    *(
        Patch(("paths", path, "post", "requestBody", "content", "application/json", "schema"), UNKNOWN, closed)
        for path in ("/fine-tunes", "/fine-tunes/estimate-price")
    ),
)
