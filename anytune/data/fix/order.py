"""Menders of the order of messages: all change meaning."""

from __future__ import annotations

from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.content import joined
from anytune.data.fix.mender import Mender, Path, Record, once
from anytune.data.quote import quote

_SYSTEM = ("system", "developer")


def _drop_null_message(record: Record, path: Path) -> str | None:
    place = walk.message_place(record, path)
    if place is None or place[0][place[1]] is not None:
        return None
    del place[0][place[1]]
    return ""


def _join(record: Record, path: Path) -> str | None:
    """Join a message with the one before it, unless they differ in more than what they say."""
    place = walk.message_place(record, path)
    if place is None or not place[1]:
        return None
    held, index = place
    earlier, later = held[index - 1], held[index]
    if not (isinstance(earlier, dict) and isinstance(later, dict)) or earlier.get("role") != later.get("role"):
        return None
    if earlier.get("tool_calls") or earlier.get("function_call"):
        return None
    said = ("role", "content", "tool_calls", "function_call")
    if {k: v for k, v in earlier.items() if k not in said} != {k: v for k, v in later.items() if k not in said}:
        return None
    contents = (earlier.get("content"), later.get("content"))
    if not all(content is None or isinstance(content, str | list) for content in contents):
        return None
    held[index - 1 : index + 1] = [{**earlier, **later, "content": joined(*contents)}]
    return str(later.get("role"))


def _cut_end(record: Record, path: Path) -> str | None:
    """Drop what follows the last answer of a conversation."""
    place = walk.message_place(record, path)
    if place is None or not any(_role(message) == "assistant" for message in place[0]):
        return None
    role = _role(place[0][-1])
    while _role(place[0][-1]) != "assistant":
        place[0].pop()
    return quote(role)


def _gather_system(record: Record, path: Path) -> str | None:
    """Join all system messages of a conversation into one at its start."""
    place = walk.message_place(record, path)
    if place is None:
        return None
    held = place[0]
    systems = [message for message in held if _role(message) in _SYSTEM]
    late = [message for message in held[1:] if _role(message) in _SYSTEM]
    if not late or not all(isinstance(message.get("content"), str | list) for message in systems):
        return None
    content: Any = ""
    for message in systems:
        content = joined(content, message["content"])
    held[:] = [{**systems[0], "content": content}, *(m for m in held if _role(m) not in _SYSTEM)]
    return ""


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


ORDER_MENDERS = (
    Mender("message-not-an-object", "remove messages that are null", _drop_null_message),
    Mender(
        "system-not-first",
        "join system messages into one at the start",
        once(_gather_system, per="messages"),
        asks=True,
    ),
    Mender("last-not-assistant", "drop what follows the last answer", _cut_end, asks=True),
    Mender("user-repeated", "join the two messages", _join, asks=True),
    Mender("assistant-repeated", "join the two messages", _join, asks=True),
)
