"""A worker that answers many questions at once, as those who ask see it: each waits for its own answer alone.

The process is started when it is needed, and anew when it has died; what it was asked then ends in an error. No torch
is here.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from anytune.errors import ProviderError, RateLimitedError, RejectedError

WAITING = 64  # questions at a time: one more would wait longer than its asker
LONGEST_LINE = 1 << 24  # bytes
PATIENCE = 5.0  # seconds that a worker has to end
Said = dict[str, Any]


class Engine:
    """Ask a worker (see `endpoint`); `names` are its models, the last of them the base alone."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, names: tuple[str, ...]) -> None:
        self.names = names
        self.context: int | None = None
        self._command, self._environment = command, environment
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._open: dict[int, asyncio.Queue[Said]] = {}
        self._number = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the engine)

    @asynccontextmanager
    async def asked(self, question: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Said]]:
        """Ask, and yield what is said to it piece by piece; whoever leaves early takes the question back."""
        if len(self._open) >= WAITING:
            raise RateLimitedError(f"{len(self._open)} questions are waiting already", retry_after=10)
        self._number += 1
        number = self._number
        self._open[number] = asyncio.Queue()  # its place in the row is taken at once
        try:
            yield _pieces(await self._sent({**question, "question": number}, number))
        finally:
            if self._open.pop(number, None) is not None:  # it has not ended
                with suppress(ProviderError):
                    await self._write({"cancel": number})

    async def _sent(self, question: Said, number: int) -> asyncio.Queue[Said]:
        """Send a question, once more where the worker turns out to have died before it came; return its answers."""
        for last in (False, True):
            # whoever leaves while the model is opened does not stop that for the others
            await asyncio.shield(asyncio.ensure_future(self.start()))
            answer = self._open[number] = asyncio.Queue[Said]()
            try:
                await self._write(question)
                return answer
            except ProviderError:
                if last or self._reader is None:
                    raise
                await asyncio.wait([self._reader], timeout=PATIENCE)
        raise AssertionError("unreachable: the last round returns or raises")

    async def start(self) -> None:
        """Start the worker, if it does not run, and wait until its model is open."""
        async with self._starting:
            if self._child is not None:
                return
            child = await asyncio.create_subprocess_exec(
                *self._command,
                env=dict(self._environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._log,
                limit=LONGEST_LINE,
                start_new_session=True,  # a Ctrl-C at the terminal is for us: we end it when all is answered
            )
            try:
                first = await _line(child)
            except BaseException:
                await _end(child)
                raise
            if first is None:
                raise await self._fault(child)
            self.context = first["ready"]["context"]
            self._child, self._reader = child, asyncio.create_task(self._read(child))

    async def close(self) -> None:
        """End the worker and free the model."""
        child, self._child = self._child, None
        if child is not None:
            await _end(child)
        if self._reader is not None:
            await self._reader
        self._log.close()

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        """Hand what the worker says to who asked, until it ends; then tell all that it has."""
        while (said := await _line(child)) is not None:
            number = int(said.pop("question"))
            over = "ended" in said or "error" in said
            answer = self._open.pop(number, None) if over else self._open.get(number)
            if answer is not None:
                answer.put_nowait(said)
        died = self._child is child
        if died:
            self._child = None
        error = (await self._fault(child)).message if died else "the answering process was ended"
        while self._open:
            self._open.popitem()[1].put_nowait({"error": error, "kind": "server"})

    async def _write(self, said: Mapping[str, Any]) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise ProviderError("the answering process ended")
        try:
            child.stdin.write(json.dumps(said).encode() + b"\n")
            await child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ProviderError("the answering process ended") from error

    async def _fault(self, child: asyncio.subprocess.Process) -> ProviderError:
        """Name the last line of the worker's log."""
        await _end(child)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return ProviderError(f"the answering process ended: {lines[-1] if lines else 'it left no message'}")


async def _pieces(answer: asyncio.Queue[Said]) -> AsyncIterator[Said]:
    """Yield what is said until the end; raise what went wrong."""
    while True:
        said = await answer.get()
        if "error" in said:
            raise (RejectedError if said["kind"] == "user" else ProviderError)(said["error"])
        yield said
        if "ended" in said:
            return


async def _line(child: asyncio.subprocess.Process) -> Said | None:
    """Read one line, None at the end."""
    assert child.stdout is not None
    try:
        found: Said = json.loads(await child.stdout.readline())
    except ValueError:  # the end, or a line that is none: whoever wrote it has lost the thread
        return None
    return found


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.terminate()
    try:
        await asyncio.wait_for(child.wait(), PATIENCE)
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
