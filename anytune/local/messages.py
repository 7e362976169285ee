"""Messages as chat templates want them: what a record says in one way, templates want to be told in several."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from anytune.errors import UsageError

Message = dict[str, Any]
CHECK = "run anytune check on the file"
REASONING = ("reasoning_content", "reasoning", "thinking")
THOUGHT = re.compile(r"</?think>")
NINE = re.compile(r"[A-Za-z0-9]{9}")


def plain(record: dict[str, Any], where: str) -> list[Message]:
    """Return a record's messages: parts of text in one, arguments of calls as objects, no keys that say nothing."""
    messages = record.get("messages")
    if not isinstance(messages, (list, tuple)) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise UsageError(f"{where}: no list of messages", fix=CHECK)
    return [_plain(message, where) for message in messages]


def _plain(message: Message, where: str) -> Message:
    told = {key: value for key, value in message.items() if value is not None}
    told["content"] = _text(message.get("content"), where)
    if not told.pop("tool_calls", None):
        return told
    try:
        return {**told, "tool_calls": [call(one) for one in message["tool_calls"]]}
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{where}: a tool call cannot be read: {error}", fix=CHECK) from error


def _text(content: Any, where: str) -> Any:
    """Return content in parts as one text."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    if other := next((part.get("type") for part in content if part.get("type") != "text"), None):
        raise UsageError(f"{where}: a message holds a part of type {other}, and only text is trained here", fix=CHECK)
    return "".join(str(part.get("text", "")) for part in content)


def call(tool_call: dict[str, Any]) -> dict[str, Any]:
    """Return one tool call with its arguments as an object."""
    function = dict(tool_call.get("function") or {})
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**tool_call, "function": function}


def ways(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the messages as they are, then in other ways to say the same, of which a template may take one alone.

    Of a message that calls tools, null for its text is the empty text to some; arguments are JSON text to some; ids of
    calls have nine letters to Mistral's.
    """
    seen: list[list[Message]] = []
    for short, written, empty in product((False, True), repeat=3):
        told = [_way(message, short=short, written=written, empty=empty) for message in messages]
        if told not in seen:
            seen.append(told)
            yield told


def _way(message: Message, *, short: bool, written: bool, empty: bool) -> Message:
    told = dict(message)
    if empty and told.get("content") is None and "tool_calls" in told:
        told["content"] = ""
    if short and "tool_call_id" in told:
        told["tool_call_id"] = nine(told["tool_call_id"])
    if "tool_calls" in told:
        told["tool_calls"] = [_call(one, short=short, written=written) for one in told["tool_calls"]]
    return told


def _call(one: dict[str, Any], *, short: bool, written: bool) -> dict[str, Any]:
    told, function = dict(one), one["function"]
    if short and "id" in told:
        told["id"] = nine(told["id"])
    if written and "arguments" in function:
        told["function"] = {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
    return told


def nine(name: Any) -> str:
    """Return the id of a call in nine letters, the same ones each time; what has nine stays as it is."""
    text = str(name)
    return text if NINE.fullmatch(text) else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:9]


def is_trained(message: Message) -> bool:
    """Tell whether a message is one that the model learns to say."""
    return message["role"] == "assistant" and bool(message.get("weight") != 0)


def silent(message: Message) -> bool:
    """Tell whether an answer is none at all: null for its text, and no calls."""
    return message.get("content") is None and "tool_calls" not in message


def lost(message: Message, turn: str) -> str | None:
    """Return what of an answer is not in the text that a template made of it, None if all of it is."""
    for one in message.get("tool_calls", ()):
        function = one["function"]
        if str(function.get("name", "")) not in turn:
            return "a call of a tool"
        if (arguments := function.get("arguments")) and isinstance(arguments, dict) and repr(arguments) in turn:
            return "the arguments of a call as JSON"
    if any(str(message[key]).strip() not in turn for key in REASONING if message.get(key)):
        return "the reasoning"
    content = message.get("content")
    if content is None and "None" in turn and "None" not in json.dumps(message.get("tool_calls")):
        return "that a message with calls has no text"
    said = THOUGHT.split(content) if isinstance(content, str) else []
    return "the text of an answer" if any(part.strip() not in turn for part in said) else None
