"""A server of ours in a thread, on a free port, in front of a worker without a model."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

from anytune.local.engine import Engine
from anytune.server import guard, run
from anytune.server.chat import Card, Chat
from anytune.server.hooks import Hooks


@dataclass
class Here:
    """Be a server that runs, and what it told."""

    port: int
    engine: Engine
    told: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker_said(self) -> str:
        """Return what the worker wrote to its log."""
        handle = self.engine._log.fileno()
        return os.pread(handle, 1 << 20, 0).decode()


Serve = Callable[..., Any]


def engine(*arguments: str) -> Engine:
    command = [sys.executable, "-m", "tests.server.worker", *arguments]
    return Engine(command, dict(os.environ), names=("sums-1", "base"))


@contextmanager
def served(*, token: str | None = None, hooks: Hooks | None = None, open_to: str = "127.0.0.1") -> Iterator[Here]:
    """Serve while inside."""
    listening = run.bind("127.0.0.1", 0)
    here = Here(listening.getsockname()[1], engine())
    chat = Chat(here.engine, (Card("sums-1", 1, also=("sums",)), Card("base", 1)))
    hosts = guard.own_names(here.port, open_to)
    application = run.app(chat=chat, hooks=hooks, hosts=hosts, token=token, told=here.told.append)
    ready, loops = threading.Event(), []

    async def work() -> None:
        loops.append((asyncio.get_running_loop(), asyncio.current_task()))
        await run.serve(listening, application, engine=here.engine, hooks=hooks, ready=ready.set)

    def until_cancelled() -> None:
        try:
            asyncio.run(work())
        except asyncio.CancelledError:
            return

    thread = threading.Thread(target=until_cancelled)
    thread.start()
    assert ready.wait(30)
    try:
        yield here
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    with served() as here:
        yield here
