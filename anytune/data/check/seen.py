"""What the survey keeps of one record: sizes, and a key by which records with the same prompt are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from anytune.data.content import size

native: ModuleType | None
try:
    from anytune.data.check import _outline as native
except ImportError:  # it was not compiled: slower, with the same results
    native = None

OUTPUTS = ("preferred_output", "non_preferred_output")
_OPTIONAL_KEYS = ("tools", "parallel_tool_calls", "functions", "weight")
_SYSTEM = ("system", "developer")
_NO_PROMPT = 1


class Seen(NamedTuple):
    """Count messages and the UTF-8 bytes of what they say; `keys` are the optional keys that the record has."""

    messages: int
    content: int
    key: int
    keys: tuple[str, ...] = ()


def key_of(asked: Sequence[str]) -> int:
    """Return a hash of a prompt, given as the texts before the answer.

    It is equal for prompts that differ only in case and white space, and hangs on the first and the last text alone:
    those with equal keys are compared by what they say. It must not be kept: another process may hash otherwise.
    """
    if not asked:
        return _NO_PROMPT
    ends = asked if len(asked) == 1 else (asked[0], asked[-1])
    if native is None:
        return hash(tuple(["".join(text.lower().split()) for text in ends]))
    key: int = native.key(*[text.encode(errors="surrogatepass") for text in ends])
    return key


def seen_in(record: dict[str, Any]) -> Seen:
    """Return what is kept of a record of any shape."""
    held = size(record)
    keys = tuple([key for key in _OPTIONAL_KEYS if key in record]) if len(record) > 1 else ()
    return Seen(held.messages, held.content_bytes, key_of(asked_in(record)), keys)


def asked_in(record: dict[str, Any]) -> list[str]:
    """Return the texts that ask: those before the last answer, or all if none comes before one; not the system's."""
    messages, asked = record.get("messages"), record.get("input")
    held: Any = messages if isinstance(messages, list) else asked.get("messages") if isinstance(asked, dict) else None
    if held is None:
        return _asked_raw(record)
    said: list[str] = []
    before = None
    for message in held if isinstance(held, list) else ():
        if message.__class__ is not dict:
            continue
        role = message.get("role")
        if role == "assistant" and held is messages:
            before = len(said)
        if role not in _SYSTEM:
            said += _texts(message)
    return said[:before] or said


def _asked_raw(record: dict[str, Any]) -> list[str]:
    prompt = record.get("prompt")
    return [prompt] if isinstance(prompt, str) else [text for text in record.values() if isinstance(text, str)][:1]


def _texts(message: dict[str, Any]) -> Iterator[str]:
    """Yield what a message says: its content or the text of its parts, then the arguments of each call."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    calls = message.get("tool_calls") if len(message) > 2 or content is None else None
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            yield function["arguments"]
