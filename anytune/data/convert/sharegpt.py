"""Write ShareGPT conversations; `chat` reads them."""

from __future__ import annotations

from typing import Any

from anytune.data.convert.loss import Notes, UnfitError
from anytune.data.convert.plain import OUTPUTS, beside, minor
from anytune.data.convert.shape import Record, is_pair, is_text, packed, unpacked
from anytune.data.path import Path

_WORDS = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def write(record: Record, notes: Notes) -> Record:
    """Return a chat or a pair as a conversation of `from` and `value`; tools and calls are JSON text."""
    if is_text(record):
        raise UnfitError("turns-do-not-fit", ("text",), record["text"])
    beside(record, notes)
    pair = is_pair(record)
    holder: Record = record["input"] if pair else record
    path: Path = ("input",) if pair else ()
    turns: list[Record] = []
    for place, message in enumerate(holder["messages"]):
        turns += _turns(message, (*path, "messages", place), notes)
    made: Record = {"conversations": turns}
    if holder.get("tools"):
        made["tools"] = packed([tool["function"] for tool in holder["tools"]])
    if pair:
        better, worse = (_turns(record[key][0], (key, 0), notes) for key in OUTPUTS)
        if len(better) != 1 or len(worse) != 1:
            raise UnfitError("holds-tools", (OUTPUTS[0], 0), None)
        made |= {"chosen": better[0], "rejected": worse[0]}
    return made


def _turns(message: Record, path: Path, notes: Notes) -> list[Record]:
    content = message.get("content")
    calls = message.get("tool_calls") or []
    if content is not None and not isinstance(content, str):
        raise UnfitError("holds-parts", (*path, "content"), content)
    if content is None and not calls:
        raise UnfitError("holds-parts", path, None)
    if message["role"] == "developer":
        notes.lost("role-renamed", (*path, "role"), "developer")
    minor(message, path, notes, kept=("weight",))
    weight = {key: message[key] for key in ("weight",) if key in message}
    turns = [] if content is None else [{"from": _WORDS[message["role"]], "value": content, **weight}]
    if calls:
        shown = [_call(call["function"]) for call in calls]
        turns.append({"from": "function_call", "value": packed(shown if len(shown) > 1 else shown[0]), **weight})
    return turns


def _call(function: Record) -> dict[str, Any]:
    """Return a call with its arguments as an object; a text that is none stays one."""
    arguments = unpacked(function["arguments"])
    return {"name": function["name"], "arguments": arguments}
