"""Asking a hosted model: what may not leave is not asked, and what passes by itself is waited out.

That is a model that is not there yet, or a limit of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


@dataclass(frozen=True)
class Screened:
    """Ask nothing that holds a value of the kinds in `block`; `refuse` hears why, and raises."""

    generator: Generator
    block: frozenset[str]
    refuse: Callable[[tuple[str, ...]], None]

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Return the answers, if every chat may be asked."""
        from anytune.data.privacy import find  # all patterns are behind it

        texts = (str(message["content"]) for chat in chats for message in chat)
        kinds = {finding.kind for text in texts for finding in find(text, kinds=self.block)}
        if kinds:
            self.refuse(tuple(f"the chat holds {kind}, and privacy blocks {kind}" for kind in sorted(kinds)))
        return self.generator.answer(chats, max_new_tokens=max_new_tokens)

    def close(self) -> None:
        """Free the model."""
        self.generator.close()
