"""By what two records are one: their prompt, their value, their words, each so normalised that spelling is aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from anytune.data.input import blank, opened
from anytune.data.lines import LONGEST
from anytune.data.sniff import BOM, HEAD, kind
from anytune.errors import RefusedError

UNCOUNTED = frozenset(("system", "developer"))
_ANSWER = "assistant: "
_LOWER_AND_SPACES = bytes(
    32 if code < 128 and chr(code).isspace() else code + 32 if 65 <= code <= 90 else code for code in range(256)
)
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class _Message(msgspec.Struct):
    role: str
    content: str
    tool_calls: msgspec.UnsetType = msgspec.UNSET


class _Chat(msgspec.Struct):
    messages: list[_Message]
    input: msgspec.UnsetType = msgspec.UNSET


_chat = msgspec.json.Decoder(_Chat).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield line number, byte offset and bare text of each line that is not blank.

    Raises RefusedError for a file that cannot be read, holds nothing, is no JSON lines, or has a line of more than
    LONGEST bytes.
    """
    with opened(path) as stream:
        _refuse_others(path, stream.read(HEAD))
        stream.seek(0)
        number = offset = found = 0
        while line := stream.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST and not line.endswith(b"\n"):
                raise RefusedError(
                    f"{path.name}:{number}: the line is too long", fix=f"anytune check {quote(str(path))}"
                )
            bare = (line.removeprefix(BOM) if number == 1 else line).strip()
            if bare:
                found += 1
                yield number, offset, bare
            offset += len(line)
        if not found:
            raise blank(path)


def prompt_key(line: bytes) -> bytes:
    """Return the normalised prompt of a record: what is asked, lower case, white space folded.

    The prompt is all before the last assistant message (all of it where a user has the last word, and all of a
    pair's input), the `prompt` of a completion, or a whole `text`, without system messages: many examples share
    one, and it does not make two equal questions different. A record that asks nothing stands for itself.
    """
    messages = asked(line)
    return folded(" ".join(messages)) if messages else line


def first_turn_key(line: bytes) -> bytes:
    """Return the normalised prompt of a record up to the first answer within it; see `prompt_key`.

    Chats that begin alike have it in common, however they go on: so the prompt of one is no turn of another that has
    another key.
    """
    messages = asked(line)
    return folded(" ".join(messages[: next(turns(messages), None)])) if messages else line


def turns(messages: list[str]) -> Iterator[int]:
    """Yield how many messages of a prompt stand before each answer within it; a greeting answers nothing."""
    is_asked = False
    for place, message in enumerate(messages):
        if not message.startswith(_ANSWER):
            is_asked = True
        elif is_asked:
            yield place


def asked(line: bytes) -> list[str]:
    """Return the messages of the prompt, each as `role: content` in the record's own spelling."""
    try:
        messages = _chat(line).messages
    except _UNREADABLE:
        return _each(_told, _asked(_unnamed(line)))
    roles = [message.role for message in messages]
    return [f"{m.role}: {m.content}" for m in messages[: _length(roles)] if m.role not in UNCOUNTED]


def said(line: bytes) -> str:
    """Return all the words of a record, answers too, without system messages; the line itself if it has none."""
    try:
        messages = _chat(line).messages
    except _UNREADABLE:
        words = _each(_words, _all(_value(line)))
    else:
        words = [message.content for message in messages if message.role not in UNCOUNTED]
    return " ".join(words) or line.decode(errors="replace")


def value_key(line: bytes) -> bytes:
    """Return the JSON value of a record as one text, whatever its white space, escapes and order of keys."""
    try:
        return _encode(_decode(line))
    except _UNREADABLE:
        return line


def loose_key(line: bytes) -> bytes:
    """Return the JSON value of a record as `value_key` does, `loosened`: case, white space and made-up ids aside."""
    try:
        return _encode(loosened(_decode(line)))
    except _UNREADABLE:
        return line


def loosened(record: Any) -> Any:
    """Return a record in the spelling by which two are the same: `unnamed`, and each string `folded_text`."""
    return _spelt(_without_id(record), folded_text, {})


def unnamed(record: Any) -> Any:
    """Return a record without made-up names, which say nothing.

    Its own `id` is left out, and the ids of calls are numbered, so that they tell only which call they name.
    """
    return _spelt(_without_id(record), str, {})


def folded_text(text: str) -> str:
    """Return a text in lower case, each run of white space one space, none at either end."""
    return " ".join(text.lower().split())


def folded(text: str) -> bytes:
    """Return what `folded_text` does as UTF-8, for ASCII in half the time."""
    if not text.isascii():
        return folded_text(text).encode()
    key = text.encode().translate(_LOWER_AND_SPACES)
    while len(shorter := key.replace(b"  ", b" ")) < len(key):
        key = shorter
    return key.strip()


def _refuse_others(path: Path, head: bytes) -> None:
    if (found := kind(head)) != "lines":
        raise RefusedError(
            f"{path.name} is {found}, not one JSON object a line", fix=f"anytune check {quote(str(path))}"
        )


def _value(line: bytes) -> Any:
    try:
        return _decode(line)
    except _UNREADABLE:
        return None


def _unnamed(line: bytes) -> Any:
    try:
        return unnamed(_decode(line))
    except _UNREADABLE:
        return None


def _each(tell: Callable[[dict[str, Any]], str], messages: list[dict[str, Any]]) -> list[str]:
    """Tell the messages that count; none of them if they are nested too deeply to be told."""
    try:
        return [tell(message) for message in messages if not _is_uncounted(message.get("role"))]
    except RecursionError:
        return []


def _is_uncounted(role: Any) -> bool:
    return isinstance(role, str) and role in UNCOUNTED


def _asked(record: Any) -> list[dict[str, Any]]:
    if not isinstance(record, dict):
        return []
    given = record.get("input")
    if isinstance(given, dict) and (messages := _messages(given.get("messages"))):
        return messages
    if messages := _messages(record.get("messages")):
        return messages[: _length([message.get("role") for message in messages])]
    if messages := _messages(record.get("prompt"), role="user"):
        return messages
    return _messages(record.get("text"), role="text")


def _all(record: Any) -> list[dict[str, Any]]:
    if not isinstance(record, dict):
        return []
    given = record.get("input")
    parts = [given.get("messages") if isinstance(given, dict) else given]
    parts += [record.get(key) for key in ("messages", "prompt", "text", "completion")]
    parts += [record.get(key) for key in ("preferred_output", "non_preferred_output")]
    return [message for part in parts for message in _messages(part, role="text")]


def _messages(given: Any, *, role: str = "") -> list[dict[str, Any]]:
    """Return a list of messages, or a text as the one message of a role; none for all else."""
    if isinstance(given, str) and role and given.strip():
        return [{"role": role, "content": given}]
    if isinstance(given, list) and all(isinstance(message, dict) for message in given):
        return given
    return []


def _length(roles: list[Any]) -> int:
    """Return how many messages are asked, given all roles."""
    if "assistant" not in roles or roles[-1] == "user":
        return len(roles)
    return len(roles) - 1 - roles[::-1].index("assistant")


def _told(message: dict[str, Any]) -> str:
    return f"{message.get('role')}: {_words(message)}"


def _words(message: dict[str, Any]) -> str:
    content = message.get("content")
    words = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return f"{words} {json.dumps(message['tool_calls'], sort_keys=True)}" if "tool_calls" in message else words


def _without_id(record: Any) -> Any:
    return {key: value for key, value in record.items() if key != "id"} if isinstance(record, dict) else record


def _spelt(value: Any, spell: Callable[[str], str], names: dict[str, int]) -> Any:
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, list):
        return [_spelt(one, spell, names) for one in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key in sorted(value):  # so that their order does not number the names
        one = value[key]
        is_name = key == "tool_call_id" or (key == "id" and "function" in value)
        made[key] = names.setdefault(one, len(names)) if is_name and isinstance(one, str) else _spelt(one, spell, names)
    return made
