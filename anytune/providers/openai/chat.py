"""Chats with a model, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from anytune.errors import NotFoundError
from anytune.providers.base import ChatMessage
from anytune.providers.openai import answer as answers
from anytune.providers.openai.client import Client


@dataclass(frozen=True)
class ChatGenerator:
    """Ask one model; `missing` says why it is not there when the server knows no such model."""

    client: Client = field(repr=False)
    model: str
    missing: Callable[[NotFoundError], Exception] = field(repr=False)

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one greedy answer a chat, in order; a refusal to answer is an empty one."""
        for chat in chats:
            try:
                yield self._complete(chat, max_new_tokens=max_new_tokens)
            except NotFoundError as error:
                raise self.missing(error) from None

    def _complete(self, chat: Sequence[ChatMessage], *, max_new_tokens: int) -> str:
        with self.client.mapped("chat"):
            answer = self.client.calls.chat.completions.with_raw_response.create(
                model=self.model,
                messages=[dict(message) for message in chat],
                temperature=0,
                max_completion_tokens=max_new_tokens,
            )
            return answers.content(answer, act=self.client.act("chat"))

    def close(self) -> None:
        """Hold nothing: each call has a connection of its own."""
