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


def also(*words: str) -> Change:
    """Allow more words."""
    return lambda known: [*known, *(word for word in words if word not in known)]


def lacking(*names: str) -> Change:
    """Take keywords or names away."""

    def change(held: Any) -> Any:
        if isinstance(held, list):
            return [name for name in held if name not in names]
        return {key: value for key, value in held.items() if key not in names}

    return change


def renamed(old: str, new: str) -> Change:
    """Put one keyword in another's place."""
    return lambda held: {new if key == old else key: value for key, value in held.items()}


SCHEMAS = ("components", "schemas")
NULLABLE_TEXT = {"type": ["string", "null"]}

OPENAI = (
    Patch(
        (*SCHEMAS, "FineTuningJob", "properties", "error"),
        "a healthy job comes with an error of {} or of nulls; described are three texts, or null for the whole",
        put({"type": ["object", "null"], "properties": {name: NULLABLE_TEXT for name in ("code", "message", "param")}}),
    ),
    Patch(
        (*SCHEMAS, "FineTuningJob", "properties", "hyperparameters"),
        "null comes for a job whose method is dpo",
        or_null,
    ),
)
