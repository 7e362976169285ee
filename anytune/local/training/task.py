"""Questions as tokens, up to where an answer begins; what else stands in their records is for the rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anytune.errors import UsageError
from anytune.local import shorten
from anytune.local.encode import ChatEncoder, Encoded
from anytune.local.messages import plain
from anytune.local.training.reward import Rewards

CHECK = "run anytune check --method rft on the file"
OF_THE_CHAT = ("messages", "tools", "parallel_tool_calls")


@dataclass(frozen=True)
class Task:
    """Be one question; `item` is what its record says besides, `messages` the chat up to the answer."""

    asked: Encoded
    item: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]] = ()

    def __len__(self) -> int:
        return len(self.asked)

    @property
    def line(self) -> int:
        """Return its line in the file."""
        return self.asked.line

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """Return the question."""
        return (self.asked,)

    @property
    def supervised(self) -> int:
        """Return that nothing of the question itself is trained."""
        return 0

    @property
    def teaches(self) -> bool:
        """Tell that there is something to answer."""
        return True


class TaskEncoder:
    """Turn reinforcement records into questions, by a model's own template; `room` is left for the answers."""

    teaching = "question that leaves room for its answer"

    def __init__(self, chats: ChatEncoder, rewards: Rewards, *, room: int) -> None:
        self.chats = chats
        self.rewards = rewards
        self.room = room

    def example(self, record: dict[str, Any], *, where: str, line: int) -> Task:
        """Encode one record; `where` names it in errors."""
        messages = record.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise UsageError(f"{where}: no list of messages", fix=CHECK)
        if messages[-1].get("role") == "assistant":
            raise UsageError(f"{where}: it ends with an answer, and rft asks for one", fix=CHECK)
        item = {key: value for key, value in record.items() if key not in OF_THE_CHAT}
        self.rewards.require(item, where=where)
        try:
            ids = self.chats.prompt(messages, record.get("tools"))
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", fix=error.fix) from error
        return Task(Encoded(ids, [False] * len(ids), line), item, messages)

    def shortened(self, record: dict[str, Any], most: int, *, where: str) -> dict[str, Any] | None:
        """Return a question of `most` tokens at most, without the oldest of what stands before the answer."""
        return shorten.longest(
            plain(record, where),
            lambda cut: {**record, "messages": cut},
            partial(self.example, where=where, line=0),
            self.chats.starts,
            most=most,
        )
