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
_LONG = 1024  # characters of which all are looked at
_KEPT = 128  # bytes of either end that count, once white space is gone
_SYSTEM = ("system", "developer")
_ASCII, _BEYOND = bytes(range(128)), bytes(range(128, 256))
# White space, and the letters that are the lower case of some beyond ASCII.
_PASSED_OVER = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1fkKiI"


class Seen(NamedTuple):
    """Count messages and the UTF-8 bytes of what they say; `keys` are the optional keys that the record has."""

    messages: int
    content: int
    key: int
    keys: tuple[str, ...] = ()


def key_of(asked: Sequence[str]) -> int:
    """Return a hash of a prompt, given as the texts before the answer.

    It is equal for prompts that differ only in case and white space, and hangs on the first and the last text alone,
    and of long ones on both ends: those with equal keys are compared by what they say. It is keyed anew in each process
    and its children, so it must not be kept.
    """
    if not asked:
        return _NO_PROMPT
    key = hash(_loosened_alone(asked[-1]))
    return key if len(asked) == 1 else hash((hash(_loosened_alone(asked[0])), key))


def keys_of(texts: Sequence[str], firsts: list[int], lasts: list[int]) -> list[int]:
    """Return the keys of many prompts at once: the places of the first and the last text of each are given."""
    keys = [*map(hash, _loosened([texts[place] for place in lasts]))]
    if firsts != lasts:
        several = [place for place, (first, last) in enumerate(zip(firsts, lasts, strict=True)) if first != last]
        opened = map(hash, _loosened([texts[firsts[place]] for place in several]))
        for place, key in zip(several, opened, strict=True):
            keys[place] = hash((key, keys[place]))
    return keys


def _loosened(texts: list[str]) -> list[bytes]:
    """Return texts in lower case and without white space, of long ones both ends only."""
    plain = [text if len(text) <= _LONG and text.isascii() else _loose(text) for text in texts]
    loose = _BETWEEN.join(plain).encode("latin-1").translate(_LOWER, _PASSED_OVER).split(_BETWEEN.encode())
    if len(loose) != len(texts):  # the mark itself stands in a text
        return [_loosened_alone(text) for text in texts]
    return loose if max(map(len, loose), default=0) <= 2 * _KEPT else [*map(_ends, loose)]


def _loosened_alone(text: str) -> bytes:
    plain = text if len(text) <= _LONG and text.isascii() else _loose(text)
    return _ends(plain.encode("latin-1").translate(_LOWER, _PASSED_OVER))


def _ends(loose: bytes) -> bytes:
    return loose if len(loose) <= 2 * _KEPT else loose[:_KEPT] + loose[-_KEPT:]


def _loose(text: str) -> str:
    """Return a text, a character for each byte of its UTF-8, so that it takes no more room than others.

    What is beyond ASCII comes last, in lower case and without white space: it takes long, and is little of most texts.
    (How a sigma is lowered hangs on what comes after it, which is gone.)
    """
    ends = text if len(text) <= _LONG else text[: _LONG // 2] + text[-_LONG // 2 :]
    whole = ends.encode(errors="surrogatepass")
    beyond = whole.translate(None, _ASCII).decode(errors="surrogatepass").lower().replace("ς", "σ")
    return whole.translate(None, _BEYOND).decode() + "".join(beyond.split()).encode(errors="surrogatepass").decode(
        "latin-1"
    )


def asked_in(messages: list[dict[str, Any]]) -> list[int]:
    """Return the places of the messages that ask: before the last answer, or all if none comes before one."""
    told = [place for place, message in enumerate(messages) if message.get("content").__class__ is str]
    roles = [message.get("role") for message in messages]
    said = [place for place in told if roles[place] not in _SYSTEM]
    answers = [place for place, role in enumerate(roles) if role == "assistant"]
    return [place for place in said if not answers or place < answers[-1]] or said


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
        if role not in _SYSTEM:
            said += texts
    content += sum(_bytes(text) for message in answers for text in _texts(message))
    keys = tuple([key for key in _OPTIONAL_KEYS if key in record]) if len(record) > 1 else ()
    if "tools" in keys:
        content += size_of_tools(record["tools"])
    return Seen(number + len(answers), content, key_of(said[:before] or said), keys)


def _seen_in_plain(messages: list[dict[str, Any]]) -> Seen | None:
    """Return what is kept of a chat of roles and texts alone, None if it is not one."""
    try:
        whole = "".join([message["content"] for message in messages])
    except TypeError:
        return None
    roles = [message["role"] for message in messages]
    last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles)
    said = [m["content"] for m in messages if m["role"] not in _SYSTEM]
    before = sum([role not in _SYSTEM for role in roles[:last]])
    return Seen(len(messages), _bytes(whole), key_of(said[:before] or said))


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
