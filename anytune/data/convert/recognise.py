"""Tell by its keys which format a record is in, and how sure that is."""

from __future__ import annotations

from typing import Any, NamedTuple

from anytune.data.convert import anthropic, chat, exchange
from anytune.data.convert.chatml import START
from anytune.data.convert.plain import OUTPUTS
from anytune.data.convert.preference import OLD_OUTPUTS
from anytune.data.convert.prompt import PAIRS
from anytune.data.convert.result import Sure
from anytune.data.convert.shape import Record, unpacked

_API = {"chat": "openai-log", "responses": "responses", "anthropic": "anthropic"}


class Seen(NamedTuple):
    """Name a format, the keys that tell it, and how sure that is."""

    format: str
    by: tuple[str, ...]
    sure: Sure = "certain"


def recognise(record: Record) -> Seen | None:
    """Return what a record looks like, None if no format has such keys."""
    return _pairs(record) or _logged(record) or _conversation(record) or _columns(record)


def _pairs(record: Record) -> Seen | None:
    for names in (OUTPUTS, OLD_OUTPUTS):
        if all(name in record for name in names):
            return Seen("preference", names)
    if "chosen" in record and "rejected" in record:
        return Seen("trl-preference", ("chosen", "rejected"))
    return None


def _logged(record: Record) -> Seen | None:
    found = exchange.exchange(record)
    if found is not None:
        answer = found.response.value if found.response else {}
        by = found.keys or tuple(key for key in ("messages", "input", "choices", "output") if key in record)
        bare = found.response is not None and "object" not in answer and not found.response.path
        return Seen(_API[exchange.api_of(found)], by, "likely" if bare and found.keys else "certain")
    for key in ("input", "items"):
        items = record.get(key)
        if (
            isinstance(items, list)
            and items
            and all(isinstance(i, dict) and i.keys() & {"type", "role"} for i in items)
        ):
            return Seen("responses", (key,))
    return Seen("responses", ("object",)) if record.get("object") == "response" else None


def _conversation(record: Record) -> Seen | None:
    for key in chat.HOLDERS:
        held = unpacked(record.get(key))
        listed = unpacked(held.get("messages")) if isinstance(held, dict) else held
        if not isinstance(listed, list) or not all(isinstance(message, dict) for message in listed):
            continue
        if any("from" in message and "value" in message for message in listed):
            return Seen("sharegpt", (key, "from", "value"))
        if key == "messages" and (blocks := _blocks(record, listed)):
            return Seen("anthropic", blocks)
        if key == "messages" or any("role" in message for message in listed):
            also = tuple(name for name in chat.TOOLS[1:] if name in record)
            return Seen("chat", (key, *also), "certain" if key == "messages" else "likely")
    return None


def _blocks(record: Record, messages: list[Any]) -> tuple[str, ...]:
    """Return what only Anthropic's messages have."""
    if isinstance(record.get("system"), list):
        return ("messages", "system")
    tools = record.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools):
        return ("messages", "input_schema")
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if str(kind) in anthropic.BLOCKS or (kind == "image" and "source" in part):
                return ("messages", str(kind))
    return ()


def _columns(record: Record) -> Seen | None:
    if "prompt" in record and "completion" in record:
        also = ("label",) if "label" in record else ()
        return Seen("kto" if also else "prompt-completion", ("prompt", "completion", *also))
    answer = next((key for key in ("output", "response") if key in record), None)
    if "instruction" in record and answer is not None:
        return Seen("alpaca", ("instruction", answer))
    for names in PAIRS:
        if all(name in record for name in names):
            return Seen("question-answer", names, "likely")
    text = record.get("text")
    if not isinstance(text, str):
        return None
    if START in text:
        return Seen("chatml", ("text", START))
    return Seen("text", ("text",), "certain" if len(record) == 1 else "likely")
