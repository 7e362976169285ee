"""Build the messages of a chat turn by turn, pairing each call with its answer."""

from __future__ import annotations

from typing import Any

from anytune.data.convert.loss import Notes, UnfitError
from anytune.data.convert.shape import Record, packed
from anytune.data.convert.waiting import Waiting
from anytune.data.path import Path


class Talk:
    """Hold the messages so far and the calls that wait for an answer.

    Calls without an id get `call_1`, `call_2`, … in their order; an answer without one goes to the oldest open call,
    of its name if it has one.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.messages: list[Record] = []
        self._open = Waiting()
        self._ids: set[str] = set()
        self._made = 0

    def say(self, role: str, content: Any, **more: Any) -> Record:
        """Add a message; content None is left out."""
        message = {"role": role, **({} if content is None else {"content": content}), **more}
        self.messages.append(message)
        return message

    def call(self, name: Any, arguments: Any, *, path: Path, id: Any = None, into: Record | None = None) -> None:
        """Add a call to a message, by default to the last one if it is the assistant's, else to a new one."""
        if not isinstance(name, str) or not name:
            raise UnfitError("call-invalid", path, name)
        message = into
        if message is None:
            last = self.messages[-1] if self.messages else {}
            message = last if last.get("role") == "assistant" else self.say("assistant", None)
        number = id if isinstance(id, str) and id else self._next_id()
        self._ids.add(number)
        self._open.add(number, name)
        function = {"name": name, "arguments": _arguments(arguments, path)}
        message.setdefault("tool_calls", []).append({"id": number, "type": "function", "function": function})

    def answer(self, content: str, *, path: Path, id: Any = None, called: Any = None, **more: Any) -> None:
        """Add what a tool answered."""
        number = id if isinstance(id, str) and id else self._open.oldest(called)
        if number is None:
            raise UnfitError("answer-without-call", path, content)
        self._open.close(number)
        self.messages.append({"role": "tool", "tool_call_id": number, "content": content, **more})

    def _next_id(self) -> str:
        while True:
            self._made += 1
            if (number := f"call_{self._made}") not in self._ids:
                return number


def _arguments(arguments: Any, path: Path) -> str:
    """Return arguments as JSON text; a text stays as the model wrote it."""
    if arguments is None or arguments == "":
        return "{}"
    if isinstance(arguments, str):
        return arguments
    if isinstance(arguments, dict | list):
        return packed(arguments)
    raise UnfitError("call-invalid", path, arguments)
