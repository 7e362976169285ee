"""The door: who may ask, from where, and how much at a time.

A web page of anybody's can send requests to this machine, also under a name of its own that leads here (DNS
rebinding). So without a token only our own names are answered, no page of another origin is, and what is written must
come as JSON, which a form cannot send. Webhooks come under any name: their signature says who sent them.
"""

from __future__ import annotations

import asyncio
import hmac
import time
import traceback
from collections.abc import Callable
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anytune.server.fault import LACKING, Fault

SECONDS = 30.0  # in which the body of a request has to come
OPEN = "/health"
SIGNED = "/webhooks/"
LONGEST_PATH = 80  # characters of a path that are told


class Guard:
    """Let through what may be asked, and tell of each request in one line without what it said."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, token: str | None, told: Callable[[str], None]):
        """Answer to `hosts` alone (None: to any), and to who shows the token where there is one."""
        self._app, self._hosts, self._token, self._told = app, hosts, token, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer what is wrong with it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.monotonic(), 499  # as nginx calls a client that went away

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            self._look(scope, Headers(scope=scope))
            await self._app(scope, receive, noted)
        except Fault as fault:
            await fault.response()(scope, receive, noted)
        except Exception:  # a defect: it was answered, or broke a stream off
            traceback.print_exc()
        finally:
            path = "".join(c if c.isprintable() else "?" for c in scope["path"][:LONGEST_PATH])
            self._told(f"{scope['method']} {path} {status} {time.monotonic() - began:.2f} s")

    def _look(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if path.startswith(SIGNED):
            return
        host = headers.get("host", "")
        if self._hosts is not None and host.lower() not in self._hosts:
            raise Fault(421, f"this server is not {host[:80]!r}; it answers to {', '.join(sorted(self._hosts))}")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}".lower():
            raise Fault(403, "pages of another origin may not ask")
        if path != OPEN:
            self._require_token(headers)
        if scope["method"] == "POST" and not _is_json(headers):
            raise Fault(415, "the body should be application/json")

    def _require_token(self, headers: Headers) -> None:
        if self._token is None:
            return
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), self._token.encode()):
            raise Fault(401, "the token is missing or not this server's", code="invalid_api_key")


def own_names(port: int, host: str) -> frozenset[str] | None:
    """Return the names under which a server on this machine is asked; None where it is open to others."""
    if not is_loopback(host):
        return None
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}
    return frozenset((*(f"{name}:{port}" for name in names), *(names if port == 80 else ())))


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


async def body(request: Request, *, most: int) -> bytes:
    """Read a body; raise `Fault` for one that is longer than it may be, or does not come."""
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > most:
        raise _too_long(most)
    parts, size = [], 0
    try:
        async with asyncio.timeout(SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_long(most)
                parts.append(part)
    except TimeoutError:
        raise Fault(408, f"the body did not come within {SECONDS:.0f} s") from None
    return b"".join(parts)


def not_found(path: str) -> Fault:
    """Return the answer to an address that there is not."""
    return Fault(404, f"there is nothing at {path[:LONGEST_PATH]}", kind=LACKING)


def _too_long(most: int) -> Fault:
    return Fault(413, f"a request may have {most >> 10} KiB", code="request_too_large")


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
