"""Take a record apart into the texts that become tokens.

What counts: the contents of messages (strings, and the text and refusal parts of lists), names, reasoning, calls of
tools (name and arguments), the declarations of tools as compact JSON, both outputs of a preference pair, prompt and
completion, plain text. Images do not count. Trained are the assistant's messages whose weight is not 0, both outputs
of a pair, the completion, and all of a plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec

_OUTPUTS = ("preferred_output", "non_preferred_output")
_TEXT_KEYS = ("content", "refusal", "reasoning", "reasoning_content", "name")
_decode = msgspec.json.Decoder().decode


class Turn(NamedTuple):
    """Be one message, or texts that no chat format frames."""

    texts: tuple[str, ...]
    trained: bool
    framed: bool = True


class Content(NamedTuple):
    """Be a record: what is read once, and the outputs of which each follows that in a sequence of its own."""

    asked: tuple[Turn, ...]
    outputs: tuple[tuple[Turn, ...], ...] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Return all turns."""
        return (*self.asked, *chain.from_iterable(self.outputs)) if self.outputs else self.asked


class Size(NamedTuple):
    """Count the messages of a record, the UTF-8 bytes of its content, and how many of these are trained."""

    messages: int
    content_bytes: int
    trained_bytes: int


def decode(line: bytes) -> Any:
    """Return the value of a line, None where it holds no JSON that any parser would take."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def content(record: Any) -> Content:
    """Take a record apart; whatever has no known shape is passed over."""
    if not isinstance(record, dict):
        return Content(())
    if any(key in record for key in _OUTPUTS):
        asked = record.get("input")
        outputs = tuple(tuple(turn._replace(trained=True) for turn in _turns(record.get(key))) for key in _OUTPUTS)
        before = (turn._replace(trained=False) for turn in _conversation(asked if isinstance(asked, dict) else {}))
        return Content(tuple(before), outputs)
    if "messages" in record:
        return Content(tuple(_conversation(record)))
    if "prompt" in record and "completion" in record:
        return Content((*_bare(record["prompt"], trained=False), *_bare(record["completion"], trained=True)))
    return Content(tuple(_bare(record.get("text"), trained=True)))


def size(record: Any) -> Size:
    """Measure a decoded record in bytes, by the same rules by which its tokens are counted."""
    return size_of(content(record))


def size_of(parts: Content) -> Size:
    """Measure in bytes what a record was taken apart into."""
    messages = total = trained = 0
    for texts, learnt, framed in parts.turns:
        length = sum(map(length_of, texts))
        messages += framed
        total += length
        trained += length if learnt else 0
    return Size(messages, total, trained)


def length_of(text: str) -> int:
    """Return the length of a text in UTF-8; a lone surrogate takes three bytes."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def declared(tools: Any) -> str:
    """Return the declarations of tools as compact JSON, the form in which they are counted."""
    try:
        return msgspec.json.encode(tools).decode()
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        pass
    try:  # lone surrogates and huge integers
        return json.dumps(tools, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        return ""


def _conversation(holder: dict[str, Any]) -> Iterator[Turn]:
    declarations = tuple(declared(holder[key]) for key in ("tools", "functions") if holder.get(key))
    if declarations:
        yield Turn(declarations, trained=False, framed=False)
    yield from _turns(holder.get("messages"))


def _turns(messages: Any) -> Iterator[Turn]:
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            trained = message.get("role") == "assistant" and message.get("weight", 1) != 0
            yield Turn(_texts(message), trained)


def _texts(message: dict[str, Any]) -> tuple[str, ...]:
    said = message.get("content")
    if len(message) == 2 and isinstance(said, str):  # no more than role and content: nearly all messages
        return (said,)
    return tuple(_all_texts(message))


def _all_texts(message: dict[str, Any]) -> Iterator[str]:
    for key in _TEXT_KEYS:
        held = message.get(key)
        if isinstance(held, str):
            yield held
        elif isinstance(held, list):
            yield from _parts(held)
    calls = message.get("tool_calls")
    for call in (*(calls if isinstance(calls, list) else ()), {"function": message.get("function_call")}):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (function[key] for key in ("name", "arguments") if isinstance(function.get(key), str))


def _parts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, dict):
            yield from (part[key] for key in ("text", "refusal") if isinstance(part.get(key), str))


def _bare(text: Any, *, trained: bool) -> Iterator[Turn]:
    if isinstance(text, str):
        yield Turn((text,), trained, framed=False)
