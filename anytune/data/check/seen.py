"""What the survey keeps of one record: sizes, and a key by which records with the same prompt are found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

_PLAIN_KEYS = {"role", "content"}
OUTPUTS = ("preferred_output", "non_preferred_output")
_OPTIONAL_KEYS = ("tools", "parallel_tool_calls", "functions", "weight")
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_BETWEEN = "\0"
_NO_PROMPT = 1
_HEAD, _TAIL = 64, 48  # characters looked at
_FIRST, _LAST = 32, 24  # bytes that count, once white space is gone
_SPACE = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"


class Seen(NamedTuple):
    """Count messages and the UTF-8 bytes of what they say; `keys` are the optional keys that the record has."""

    messages: int
    content: int
    key: int
    keys: tuple[str, ...] = ()


def key_of(asked: Sequence[str]) -> int:
    """Return a hash of a prompt, given as the texts before the answer.

    It is equal for prompts that differ only in case and (unless they begin or end with long stretches of it) in white
    space, and hangs on both ends of the prompt alone: those with equal keys are compared by what they say. It is keyed
    anew in each process and its children, so it must not be kept.
    """
    return keys_of([ends_of(asked[0], asked[-1])])[0] if asked else _NO_PROMPT


def ends_of(first: str, last: str) -> str:
    """Return the two ends of a prompt, given its first and last text, as they go into `keys_of`."""
    return first[:_HEAD] + _BETWEEN + last[-_TAIL:]


def keys_of(ends: list[str]) -> list[int]:
    """Return the keys of many prompts at once."""
    whole = _BETWEEN.join([each if each.isascii() else "".join(each.lower().split()) for each in ends])
    halves = whole.encode(errors="surrogatepass").translate(_LOWER, _SPACE).split(_BETWEEN.encode())
    if len(halves) != 2 * len(ends):  # the mark itself stands in a prompt
        return [keys_of([_without_mark(each)])[0] for each in ends]
    return [hash(head[:_FIRST] + tail[-_LAST:]) for head, tail in zip(halves[::2], halves[1::2], strict=True)]


def _without_mark(ends: str) -> str:
    """Return two ends in which the mark stands between them alone; which of several it is does not matter."""
    head, _, tail = ends.partition(_BETWEEN)
    return head + _BETWEEN + tail.replace(_BETWEEN, "")


def seen_in(record: dict[str, Any]) -> Seen:
    """Return what is kept of a record of any shape."""
    messages, asked = record.get("messages"), record.get("input")
    if isinstance(messages, list):
        held: Any = messages
        answers: list[dict[str, Any]] = []
    elif isinstance(asked, dict):
        held = asked.get("messages")
        outputs = [record[key] for key in OUTPUTS if isinstance(record.get(key), list)]
        answers = [message for output in outputs for message in output if isinstance(message, dict)]
    else:
        return _seen_in_raw(record)
    told = held if isinstance(held, list) else []
    if held is messages and len(record) == 1 and all([m.__class__ is dict and m.keys() == _PLAIN_KEYS for m in told]):
        plain = _seen_in_plain(told)
        if plain is not None:
            return plain
    said: list[str] = []
    before = None
    number = content = 0
    for message in told:
        if message.__class__ is not dict:
            continue
        number += 1
        text, role = message.get("content"), message.get("role")
        texts = [text] if text.__class__ is str and "tool_calls" not in message else [*_texts(message)]
        content += sum(map(_bytes, texts))
        if role == "assistant" and held is messages:
            before = len(said)
        if role != "system" and role != "developer":
            said += texts
    content += sum(_bytes(text) for message in answers for text in _texts(message))
    keys = tuple([key for key in _OPTIONAL_KEYS if key in record]) if len(record) > 1 else ()
    if "tools" in keys:
        content += size_of_tools(record["tools"])
    return Seen(number + len(answers), content, key_of(said[:before]), keys)


def _seen_in_plain(messages: list[dict[str, Any]]) -> Seen | None:
    """Return what is kept of a chat of roles and texts alone, None if it is not one."""
    try:
        whole = "".join([message["content"] for message in messages])
    except TypeError:
        return None
    roles = [message["role"] for message in messages]
    last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles)
    asked = [m["content"] for m in messages[:last] if m["role"] != "system" and m["role"] != "developer"]
    return Seen(len(messages), _bytes(whole), key_of(asked))


def size_of_tools(tools: Any) -> int:
    """Return the bytes of the tools as JSON."""
    try:
        return len(msgspec.json.encode(tools))
    except UnicodeEncodeError:  # half a character
        return len(json.dumps(tools))


def _seen_in_raw(record: dict[str, Any]) -> Seen:
    texts = [value for value in record.values() if isinstance(value, str)]
    prompt = record.get("prompt")
    return Seen(0, sum(map(_bytes, texts)), key_of([prompt] if isinstance(prompt, str) else texts[:1]))


def _texts(message: dict[str, Any]) -> Iterator[str]:
    """Yield what a message says: its content or the text of its parts, then the name and arguments of each call."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    calls = message.get("tool_calls") if len(message) > 2 or content is None else None
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (function[key] for key in ("name", "arguments") if isinstance(function.get(key), str))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
