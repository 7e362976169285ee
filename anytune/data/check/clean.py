"""Pass clean lines quickly: a strict typed decode that knows only the commonest, faultless shape.

What passes here is clean for every provider; what does not pass may still be clean, and goes to `record`, the
only authority (tests/data/test_tiers.py holds the two together).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1)]
# An escaped lower-case letter could hide a second "role" from the count of keys; \u0000 is a fault.
_ODD_ESCAPE = re.compile(rb"\\u00(?:00|6|7)")


class _System(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: Text


class _User(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: Text


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    content: Text
    weight: Literal[0, 1] | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    content: Text


_Message = _System | _User | _Assistant


class _Chat(msgspec.Struct, forbid_unknown_fields=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=2)]


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    messages: Annotated[list[_System | _User | _Output], msgspec.Meta(min_length=1)]


class _Preference(msgspec.Struct, forbid_unknown_fields=True):
    input: _Input
    preferred_output: Annotated[list[_Output], msgspec.Meta(min_length=1, max_length=1)]
    non_preferred_output: Annotated[list[_Output], msgspec.Meta(min_length=1, max_length=1)]


class Size(NamedTuple):
    """Count the messages of a record and the UTF-8 bytes of what they say."""

    messages: int
    content: int


_decode_chat = msgspec.json.Decoder(_Chat).decode
_decode_preference = msgspec.json.Decoder(_Preference).decode
_NOT_CLEAN = (msgspec.MsgspecError, ValueError, RecursionError)


def chat(line: bytes) -> Size | None:
    """Return the size of a clean supervised example, None if a closer look is needed."""
    try:
        messages = _decode_chat(line).messages
    except _NOT_CLEAN:
        return None
    weights = trained = content = 0
    user_next = True
    for place, message in enumerate(messages):
        text = message.content
        if text.isspace():
            return None
        content += len(text) if text.isascii() else len(text.encode())
        if type(message) is _Assistant:
            if user_next:
                return None
            user_next = True
            weights += message.weight is not msgspec.UNSET
            trained += message.weight != 0
        elif type(message) is _User:
            if not user_next:
                return None
            user_next = False
        elif place:
            return None
    once = {b'"messages"': 1, b'"weight"': weights}
    if not user_next or not trained or not _keys_once(line, len(messages), once):
        return None
    return Size(len(messages), content)


def preference(line: bytes) -> Size | None:
    """Return the size of a clean preference pair, None if a closer look is needed."""
    try:
        pair = _decode_preference(line)
    except _NOT_CLEAN:
        return None
    asked = pair.input.messages
    turns = asked[1:] if type(asked[0]) is _System else asked
    if len(turns) % 2 == 0 or any(type(m) is not (_Output if i % 2 else _User) for i, m in enumerate(turns)):
        return None
    texts = [m.content for m in (*asked, *pair.preferred_output, *pair.non_preferred_output)]
    if texts[-1] == texts[-2] or any(text.isspace() for text in texts):
        return None
    if not _keys_once(line, len(texts), dict.fromkeys(_PREFERENCE_KEYS, 1)):
        return None
    return Size(len(texts), sum(len(text) if text.isascii() else len(text.encode()) for text in texts))


_PREFERENCE_KEYS = (b'"input"', b'"messages"', b'"preferred_output"', b'"non_preferred_output"')


def _keys_once(line: bytes, messages: int, others: dict[bytes, int]) -> bool:
    """Tell whether no key stands twice: quotes within strings are escaped, so the count is never too low."""
    if b"\\u00" in line and _ODD_ESCAPE.search(line):
        return False
    if line.count(b'"role"') != messages or line.count(b'"content"') != messages:
        return False
    return all(line.count(key) == number for key, number in others.items())
