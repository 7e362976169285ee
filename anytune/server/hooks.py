"""Webhooks of providers: a hint to ask about a job now, and never more than that.

What is forged, from another time or too long is refused; one that came before is thanked for and passed over. Whatever
one says, the provider itself is asked how the job stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from anytune import webhook
from anytune.errors import AnytuneError, RefusedError
from anytune.server import guard
from anytune.server.fault import Fault

LONGEST = 64 << 10  # bytes: OpenAI's have some hundred
WAITING = 1000  # looks that are still to be done; more hints are not needed to ask soon
ABOUT = "fine_tuning.job."
Look = Callable[[str], str | None]


def _now() -> datetime:
    return datetime.now(UTC)


class Hooks:
    """Take OpenAI's webhooks in; `look` asks about the remote job of an id and says in a line how it stands."""

    def __init__(
        self, look: Look, *, secret: str, told: Callable[[str], None], now: Callable[[], datetime] = _now
    ) -> None:
        self._look, self._secret, self._told, self._now = look, secret, told, now
        self._seen = webhook.Replays()
        self._wanted: asyncio.Queue[str] = asyncio.Queue(WAITING)

    async def take(self, request: Request) -> Response:
        """Answer a webhook at once; the look comes after."""
        body = await guard.body(request, most=LONGEST)
        try:
            id = webhook.verify(body, request.headers, secret=self._secret, now=self._now())
        except RefusedError as error:
            raise Fault(401, error.message) from error
        remote_id = _about(body)
        new = self._seen.is_new(id, now=self._now())
        if new and remote_id is not None and not self._wanted.full():
            self._wanted.put_nowait(remote_id)
        return JSONResponse({"received": True, "new": new})

    async def work(self) -> None:
        """Look at the jobs that were named, one after the other, until cancelled."""
        while True:
            remote_id = await self._wanted.get()
            try:
                said = await asyncio.to_thread(self._look, remote_id)
            except AnytuneError as error:
                said = error.message
            self._told(f"webhook: {said or 'about a job that is not in the record'}")


def _about(body: bytes) -> str | None:
    """Return the job that a webhook is about, None if it is about no job."""
    try:
        told: Any = json.loads(body)
        kind, remote_id = told["type"], told["data"]["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Fault(400, "that is no event") from None
    return remote_id if isinstance(remote_id, str) and str(kind).startswith(ABOUT) else None
