"""Chat completions: one JSON object, or a stream of server-sent events that ends with [DONE]."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from anytune.errors import AnytuneError
from anytune.providers.base import Endpoint
from anytune.server import fault, guard
from anytune.server.ask import Ask, read
from anytune.server.fault import LACKING, Fault

LONGEST = 4 << 20  # bytes of a request
GONE = 499
T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """Be a model as it is listed: `also` are other names by which it may be asked for."""

    id: str
    created: int
    also: tuple[str, ...] = ()

    @property
    def body(self) -> dict[str, Any]:
        """Return it in OpenAI's shape."""
        return {"id": self.id, "object": "model", "created": self.created, "owned_by": "anytune"}


@dataclass(frozen=True)
class Chat:
    """Answer chats with the models of an engine."""

    engine: Endpoint
    cards: tuple[Card, ...]

    async def models(self, request: Request) -> Response:
        """List the models, or tell of one."""
        wanted = request.path_params.get("model")
        if wanted is not None:
            return JSONResponse(self._card(wanted).body)
        return JSONResponse({"object": "list", "data": [card.body for card in self.cards]})

    async def complete(self, request: Request) -> Response:
        """Answer one request; whoever goes away meanwhile takes it back."""
        ask = read(await guard.body(request, most=LONGEST))
        question = ask.question(model=self._card(ask.model).id)
        async with AsyncExitStack() as stack:
            try:
                pieces = await _unless_gone(request, stack.enter_async_context(self.engine.asked(question)))
                first = await _unless_gone(request, _next(pieces))
                made = Made(ask.model, prompt=first["prompt"])
                if ask.stream:
                    return Stream(_events(made, pieces, ask), close=stack.pop_all())
                return JSONResponse(await _unless_gone(request, _whole(made, pieces)))
            except AnytuneError as error:
                raise fault.of(error) from error
            except ConnectionResetError:
                return Response(status_code=GONE)

    def _card(self, name: str) -> Card:
        for card in self.cards:
            if name in (card.id, *card.also):
                return card
        known = ", ".join(card.id for card in self.cards)
        said = f"no model is called {name[:80]!r} here; there are {known}"
        raise Fault(404, said, kind=LACKING, param="model", code="model_not_found")


@dataclass
class Made:
    """Be what a completion consists of while it is made."""

    model: str
    prompt: int
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    ended: str | None = None
    tokens: int = 0

    def take_end(self, said: Mapping[str, Any]) -> None:
        """Take note of how it ended."""
        self.ended, self.tokens = said["ended"], said["tokens"]

    @property
    def usage(self) -> dict[str, int]:
        """Return what was used, in tokens."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt + self.tokens,
        }

    def whole(self, text: str) -> dict[str, Any]:
        """Return the completion as one object."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.ended}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def chunk(self, delta: Mapping[str, Any], *, ended: str | None = None) -> dict[str, Any]:
        """Return one piece of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ended}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def bill(self) -> dict[str, Any]:
        """Return the piece of a stream that says what was used."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


class Stream(StreamingResponse):
    """Send events as they come; the question is taken back when the client has gone, also before the first of them."""

    def __init__(self, events: AsyncIterator[str], *, close: AsyncExitStack) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all, and let go."""
        async with self._close:
            await super().__call__(scope, receive, send)


async def _whole(made: Made, pieces: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    texts = []
    async for said in pieces:
        if "text" in said:
            texts.append(said["text"])
        else:
            made.take_end(said)
    return made.whole("".join(texts))


async def _events(made: Made, pieces: AsyncIterator[dict[str, Any]], ask: Ask) -> AsyncIterator[str]:
    yield _event(made.chunk({"role": "assistant", "content": ""}))
    try:
        async for said in pieces:
            if "text" in said:
                yield _event(made.chunk({"content": said["text"]}))
            else:
                made.take_end(said)
    except AnytuneError as error:  # the status has gone out: the client reads the error among the events
        yield _event(fault.of(error).body)
        return
    yield _event(made.chunk({}, ended=made.ended))
    if ask.tells_usage:
        yield _event(made.bill())
    yield "data: [DONE]\n\n"


def _event(said: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n"


async def _next(pieces: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    return await anext(pieces)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do this while the client is there; raise `ConnectionResetError` when it has gone."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ConnectionResetError
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
