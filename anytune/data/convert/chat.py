"""Read chats: the canonical ones, their variants, and the old form of functions."""

from __future__ import annotations

from typing import Any

from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.shape import CALL, Record, content_of, only_text, role_of, text_of, unpacked
from anytune.data.convert.talk import Talk
from anytune.data.convert.tool import tools_of
from anytune.data.path import Path

HOLDERS = ("messages", "conversations", "conversation", "interactions", "dialogue", "dialog", "chat", "turns")
TOOLS = ("tools", "available_tools", "functions")
BESIDE = ("parallel_tool_calls", "weight")  # top-level keys that a chat keeps as they are
_COMMON = ("role", "content", "from", "value", "name", "weight")
_KNOWN = {
    "assistant": (*_COMMON, "tool_calls", "function_call", "refusal", "reasoning", "reasoning_content"),
    "tool": ("role", "content", "from", "value", "name", "tool_call_id"),
    "function": ("role", "content", "from", "value", "name"),
}
_CALL_KEYS = ("id", "type", "function", "index", "name", "arguments", "parameters")
_KEPT = {"assistant": ("name", "weight", "refusal", "reasoning", "reasoning_content")}


def read(record: Record, notes: Notes) -> Record:
    """Return the chat of a record that holds one; `system` beside the messages becomes the first of them.

    Keys that a chat has no place for are kept only in a record that ends with the user: a grader reads them.
    """
    key, given = held_by(record)
    path: Path = (key, "messages") if isinstance(given, dict) else (key,)
    listed = unpacked(given["messages"]) if isinstance(given, dict) else given
    talk = Talk(notes)
    if record.get("system"):
        talk.say("system", text_of(record["system"], ("system",), notes))
    say_all(listed, path, talk)
    chat = with_tools({"messages": talk.messages}, record, (), notes)
    if isinstance(given, dict):
        notes.rest(given, ("messages", *TOOLS, *BESIDE), (key,))
        chat = with_tools(chat, given, (key,), notes)
    known = (key, "system", *TOOLS, *BESIDE)
    if key == "messages" and talk.messages[-1]["role"] == "user":
        return chat | {name: value for name, value in record.items() if name not in known}
    notes.rest(record, known)
    return chat


def held_by(record: Record) -> tuple[str, Any]:
    """Return the key that holds the messages and its value, JSON text read."""
    for key in HOLDERS:
        value = unpacked(record.get(key))
        if isinstance(value, list) or (isinstance(value, dict) and "messages" in value):
            return key, value
    raise lacks("messages")


def with_tools(chat: Record, holder: Record, path: Path, notes: Notes) -> Record:
    """Add the tools of a holder to a chat, and what else a chat keeps beside them."""
    for key in TOOLS:
        if key in holder and (tools := tools_of(holder[key], (*path, key), notes)):
            chat["tools"] = [*chat.get("tools", ()), *tools]
    return chat | {key: holder[key] for key in BESIDE if holder.get(key) is not None}


def say_all(messages: Any, path: Path, talk: Talk) -> None:
    """Add all messages of a list to a talk."""
    if not isinstance(messages, list) or not messages:
        raise UnfitError("message-invalid", path, messages)
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise UnfitError("message-invalid", (*path, place), message)
        say(message, (*path, place), talk)


def say(message: Record, at: Path, talk: Talk) -> None:
    """Add one message to a talk, whatever names its role and content go by."""
    word, key = ("from", "value") if "from" in message and "role" not in message else ("role", "content")
    if word not in message:
        raise UnfitError("role-unknown", at)
    role = role_of(message[word], (*at, word))
    talk.notes.rest(message, _KNOWN.get(role, _COMMON), at)
    content, where = message.get(key), (*at, key)
    if role == CALL:
        _calls(content, where, talk, weight=message.get("weight"))
    elif role in ("tool", "function"):
        said = "" if content is None else only_text(content, where, talk.notes)
        name = message.get("name")
        kept = {"name": name} if isinstance(name, str) and role == "tool" else {}
        talk.answer(said, path=at, id=message.get("tool_call_id"), called=name, **kept)
    else:
        _speak(role, message, content, where, talk)


def _speak(role: str, message: Record, content: Any, where: Path, talk: Talk) -> None:
    at = where[:-1]
    said = None if content is None or content == [] else content_of(content, where, talk.notes)
    kept = {key: message[key] for key in _KEPT.get(role, ("name", "weight")) if message.get(key) is not None}
    calls = message.get("tool_calls") if role == "assistant" else None
    old = message.get("function_call") if role == "assistant" else None
    if said is None and not (calls or old or kept.get("refusal")):
        raise UnfitError("content-unknown", where if where[-1] in message else at, None)
    made = talk.say(role, said, **kept)
    if calls is not None and not isinstance(calls, list):
        raise UnfitError("call-invalid", (*at, "tool_calls"), calls)
    for place, call in enumerate(calls or ()):
        _call(call, (*at, "tool_calls", place), talk, made)
    if old is not None:
        _call(old, (*at, "function_call"), talk, made)


def _call(call: Any, path: Path, talk: Talk, into: Record | None = None) -> None:
    if not isinstance(call, dict):
        raise UnfitError("call-invalid", path, call)
    nested = call.get("function")
    function = nested if isinstance(nested, dict) else call
    talk.notes.rest(call, _CALL_KEYS if function is call else _CALL_KEYS[:4], path)
    if function is not call:
        talk.notes.rest(function, _CALL_KEYS[4:], (*path, "function"))
    arguments = function.get("arguments", function.get("parameters"))
    talk.call(function.get("name"), arguments, path=path, id=call.get("id"), into=into)


def _calls(value: Any, path: Path, talk: Talk, *, weight: Any) -> None:
    """Add the calls that a turn holds as JSON: one object, or a list for calls at the same time."""
    found = unpacked(value)
    calls = found if isinstance(found, list) else [found]
    for place, call in enumerate(calls):
        _call(call, (*path, place) if isinstance(found, list) else path, talk)
    if weight is not None and talk.messages:
        talk.messages[-1]["weight"] = weight
