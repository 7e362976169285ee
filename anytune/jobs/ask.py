"""Asking a hosted model: what passes by itself, a model that is not there yet or a limit of calls, is waited out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from anytune import retry
from anytune.providers.base import ChatMessage, Generator

READY = 900.0  # seconds for which one answer is asked for again


@dataclass(frozen=True)
class Patient:
    """Ask one chat at a time, each until it is answered or surely will not be: an answer changes nothing there."""

    generator: Generator
    clock: retry.Clock

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one answer a chat, in order."""
        for chat in chats:
            yield retry.call(partial(self._one, chat, max_new_tokens), clock=self.clock, deadline=READY)

    def _one(self, chat: Sequence[ChatMessage], max_new_tokens: int) -> str:
        return next(iter(self.generator.answer([chat], max_new_tokens=max_new_tokens)))

    def close(self) -> None:
        """Free the model."""
        self.generator.close()
