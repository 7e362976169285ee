"""The prompt of a record, so normalised that two ways to write one question are one."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode


def prompt_key(line: bytes) -> bytes:
    """Return the normalised prompt of a record: what is asked, lower case, white space folded.

    The prompt is all before the last assistant message, without system messages: many examples share one, and it
    does not make two equal questions different. A record without messages stands for itself.
    """
    try:
        messages = _asked(_decode(line))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        messages = []
    told = [_said(message) for message in messages if message.get("role") not in ("system", "developer")]
    return " ".join("\n".join(told).lower().split()).encode(errors="surrogatepass") if told else line


def _asked(record: Any) -> list[dict[str, Any]]:
    asked = record.get("input", record) if isinstance(record, dict) else None
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return []
    answers = [place for place, message in enumerate(messages) if message.get("role") == "assistant"]
    return messages[: answers[-1]] if answers and asked is record else messages


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    said = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    calls = json.dumps(message["tool_calls"], sort_keys=True) if "tool_calls" in message else ""
    return f"{message.get('role')}: {said} {calls}"
