"""Pairs as tokens: what was asked with the answer that is wanted, and the same with the one that is not.

Each side is a chat of its own and goes through the model's template as any chat does, so that what is trained of an
answer, its end included, is what supervised fine-tuning would train of it. Earlier answers are only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from anytune.errors import UsageError
from anytune.local import shorten
from anytune.local.encode import ChatEncoder, Encoded
from anytune.local.messages import plain

SIDES = ("preferred_output", "non_preferred_output")
CHECK = "run anytune check --method dpo on the file"


@dataclass(frozen=True)
class Pair:
    """Be two answers to one question; `reference` is how probable the base finds each (natural logarithms)."""

    chosen: Encoded
    rejected: Encoded
    line: int
    reference: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return max(len(self.chosen), len(self.rejected))

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """Return both sequences, the wanted one first."""
        return self.chosen, self.rejected

    @property
    def supervised(self) -> int:
        """Return how many tokens of both answers count."""
        return self.chosen.supervised + self.rejected.supervised

    @property
    def teaches(self) -> bool:
        """Tell whether there is something of both answers, and not the same."""
        return all(row.supervised for row in self.rows) and self.chosen.ids != self.rejected.ids

    def cut(self, max_length: int) -> Pair:
        """Return what training sees of it: the first `max_length` tokens of each side."""
        if len(self) <= max_length:
            return self
        return Pair(self.chosen.cut(max_length), self.rejected.cut(max_length), self.line)


class PairEncoder:
    """Turn preference records into pairs, by a model's own template."""

    teaching, room = "pair of different answers", 0

    def __init__(self, chats: ChatEncoder) -> None:
        self.chats = chats

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Pair:
        """Encode one record; `where` names it in errors."""
        (chosen,), (rejected,) = (
            self.chats.encoded(chat(record, side, where=where), where=f"{where}, {side}", line=line) for side in SIDES
        )
        return Pair(chosen, rejected, line)

    def shortened(self, record: dict[str, Any], most: int, *, where: str) -> dict[str, Any] | None:
        """Return a pair of `most` tokens at most on each side, both without the oldest of what was asked."""
        asked = record["input"]
        return shorten.longest(
            plain(asked, where),
            lambda cut: {**record, "input": {**asked, "messages": cut}},
            partial(self.example, where=where, line=0),
            self.chats.starts,
            most=most,
        )


def chat(record: dict[str, Any], side: str, *, where: str) -> dict[str, Any]:
    """Return the input with the answer of one side as a chat of which that answer alone is trained."""
    asked, output = record.get("input"), record.get(side)
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(messages, list) or not messages:
        raise UsageError(f"{where}: no pair: input.messages is missing", fix=CHECK)
    if not all(isinstance(message, dict) for message in messages):
        raise UsageError(f"{where}: input.messages holds what is no message", fix=CHECK)
    if not isinstance(output, list) or len(output) != 1 or not isinstance(output[0], dict):
        raise UsageError(f"{where}: {side} is not a list of one message", fix=CHECK)
    if output[0].get("role") != "assistant":
        raise UsageError(f"{where}: {side} is not the assistant's", fix=CHECK)
    before = [{**message, "weight": 0} if message.get("role") == "assistant" else message for message in messages]
    answer = {key: value for key, value in output[0].items() if key != "weight"}
    return {key: value for key, value in asked.items() if key != "weight"} | {"messages": [*before, answer]}
