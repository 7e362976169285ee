"""One process that serves: the port is taken first, then the model is opened, then requests are answered."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anytune.errors import UsageError
from anytune.providers.base import Endpoint
from anytune.server import guard
from anytune.server.chat import Chat
from anytune.server.fault import Fault
from anytune.server.hooks import Hooks

GRACE = 3  # seconds that answers have to end in when the server is stopped
CONNECTIONS = 256
HEADERS = 32 << 10  # bytes


def bind(host: str, port: int) -> socket.socket:
    """Take the port; raise `UsageError` where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host}:{port}: {why}", fix="--port 0 takes a free port") from error


def app(
    *,
    chat: Chat | None,
    hooks: Hooks | None,
    hosts: frozenset[str] | None,
    token: str | None,
    told: Callable[[str], None],
) -> Any:
    """Put together what is answered, and the door before it."""
    routes = [Route("/health", _health)]
    if chat is not None:
        routes += [
            Route("/v1/models", chat.models),
            Route("/v1/models/{model:path}", chat.models),
            Route("/v1/chat/completions", chat.complete, methods=["POST"]),
        ]
    if hooks is not None:
        routes.append(Route("/webhooks/openai", hooks.take, methods=["POST"]))
    handlers: dict[Any, Any] = {Fault: _fault, HTTPException: _missing, Exception: _defect}
    return guard.Guard(Starlette(routes=routes, exception_handlers=handlers), hosts=hosts, token=token, told=told)


async def serve(
    listening: socket.socket,
    application: Any,
    *,
    engine: Endpoint | None,
    hooks: Hooks | None,
    ready: Callable[[], None],
) -> int | None:
    """Open the model, say that all is ready, and answer until a signal comes; return which."""
    background = asyncio.create_task(hooks.work()) if hooks else None
    try:
        if engine is not None:
            await engine.start()
        ready()
        config = uvicorn.Config(
            application,
            log_config=None,
            log_level="critical",  # an answer cut off when we are stopped is no error; defects are told by Guard
            access_log=False,
            proxy_headers=False,
            server_header=False,
            http="h11",
            ws="none",
            lifespan="off",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
            h11_max_incomplete_event_size=HEADERS,
        )
        server = Server(config)
        await server.serve(sockets=[listening])
        return server.stopped_by
    finally:
        if background is not None:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
        if engine is not None:
            await engine.close()


class Server(uvicorn.Server):
    """Be stopped by a signal without raising it again: there is a worker to be ended first."""

    stopped_by: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed SIGINT and SIGTERM while inside; a second SIGINT waits for no answer."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        self.stopped_by = number
        self.handle_exit(number, None)


async def _health(request: Request) -> Response:
    del request
    return JSONResponse({"status": "ok"})


async def _fault(request: Request, fault: Fault) -> Response:
    del request
    return fault.response()


async def _missing(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return guard.not_found(request.url.path).response()
    return Fault(error.status_code, str(error.detail)).response()


async def _defect(request: Request, error: Exception) -> Response:
    del request
    return Fault(500, f"a defect of anytune: {type(error).__name__}", kind="server_error").response()
