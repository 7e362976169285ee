"""A generator that lives in a child process: one JSON line a question out, one a piece of the answer back."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anytune.errors import ProviderError
from anytune.providers.base import ChatMessage


class ChildGenerator:
    """Answer chats with the model that a worker process holds."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._asked = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        self._child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield one greedy answer a chat, in order, each as soon as its batch is done."""
        self._asked += 1
        number = self._asked
        question = {
            "question": number,
            "chats": [[dict(m) for m in chat] for chat in chats],
            "max_new_tokens": max_new_tokens,
        }
        try:
            self._pipe("stdin").write(json.dumps(question) + "\n")
            self._pipe("stdin").flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._fault() from error
        for _ in chats:
            yield str(self._read(number)["text"])

    def close(self) -> None:
        """End the child and free the model."""
        self._child.terminate()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._log):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # bytes that the ended child never read

    def _read(self, number: int) -> dict[str, Any]:
        """Read one line of the answer to this question; lines of one that was given up are passed over."""
        while True:
            line = self._pipe("stdout").readline()
            try:
                value = dict(json.loads(line))
            except ValueError as error:
                raise self._fault() from error
            if value.get("question") != number:
                continue
            if "error" in value:
                raise ProviderError(str(value["error"]), fix=value.get("fix"))
            return value

    def _pipe(self, name: str) -> Any:
        """Return the child's pipe of this name."""
        return getattr(self._child, name)

    def _fault(self) -> ProviderError:
        """Name the last line of the child's log."""
        self._child.terminate()  # harmless on the dead; one that still lives has lost the thread
        self._child.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return ProviderError(f"the answering process ended: {lines[-1] if lines else 'it left no message'}")
