"""Pass clean lines quickly: a strict typed decode that knows only the commonest, faultless shapes.

What passes here is clean for every provider; what does not pass may still be clean, and goes to `record`, the
only authority (tests/data/test_tiers.py holds the two together).
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from anytune.data.check.garble import is_suspect
from anytune.data.check.seen import Seen, key_of
from anytune.data.check.sound import DEEPEST, has_long_number, is_too_deep, is_upsetting
from anytune.data.check.tool import is_object

Text = Annotated[str, msgspec.Meta(min_length=1)]
FunctionName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
NOT_CLEAN = (msgspec.MsgspecError, ValueError, RecursionError)
_REMEMBERED = 256
_ABOVE = 4  # levels of nesting above the parameters of a tool


class _System(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True, gc=False):
    content: Text


class _User(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True, gc=False):
    content: Text


class _Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: FunctionName
    arguments: str


class _Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    type: Literal["function"]
    function: _Function


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    content: Text | msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: Annotated[list[_Call], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    weight: Literal[0, 1] | msgspec.UnsetType = msgspec.UNSET


class _Tool(msgspec.Struct, tag_field="role", tag="tool", forbid_unknown_fields=True, gc=False):
    tool_call_id: str
    content: Text


class _Output(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True, gc=False):
    content: Text


_Message = _System | _User | _Assistant | _Tool


class _FunctionSpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    name: FunctionName
    description: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    strict: bool | msgspec.UnsetType = msgspec.UNSET


class _ToolSpec(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["function"]
    function: _FunctionSpec


class _Chat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=2)]
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parallel_tool_calls: bool | msgspec.UnsetType = msgspec.UNSET


class _Input(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: Annotated[list[_System | _User | _Output], msgspec.Meta(min_length=1)]


class _Preference(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    input: _Input
    preferred_output: Annotated[list[_Output], msgspec.Meta(min_length=1, max_length=1)]
    non_preferred_output: Annotated[list[_Output], msgspec.Meta(min_length=1, max_length=1)]


_decode_chat = msgspec.json.Decoder(_Chat).decode
_decode_preference = msgspec.json.Decoder(_Preference).decode
_decode_tools = msgspec.json.Decoder(list[_ToolSpec]).decode


def chat(line: bytes) -> Seen | None:
    """Return what was seen of a clean supervised example, None if a closer look is needed."""
    try:
        record = _decode_chat(line)
    except NOT_CLEAN:
        return None
    messages = record.messages
    number = len(messages)
    if record.tools is not msgspec.UNSET or [*map(type, messages)] != _turns(number):
        return _with_tools(line, record)
    texts: list[Any] = [message.content for message in messages]
    try:
        said = "".join(texts)
    except TypeError:  # null, or no content at all
        return _with_tools(line, record)
    colons = said.count(":") + 1 + 2 * number
    trained = False
    for message in messages[number % 2 + 1 :: 2]:
        weight = message.weight  # type: ignore[union-attr]
        colons += weight is not msgspec.UNSET
        trained = trained or weight != 0
        if message.tool_calls is not msgspec.UNSET:  # type: ignore[union-attr]
            return _with_tools(line, record)
    keys = () if record.parallel_tool_calls is msgspec.UNSET else ("parallel_tool_calls",)
    if not trained or line.count(b":") != colons + len(keys) or any(map(str.isspace, texts)) or is_upsetting(line):
        return None
    if is_suspect(said):
        return None
    return Seen(number, len(said) if said.isascii() else len(said.encode()), key_of(texts[number % 2 : -1]), keys)


@cache
def _turns(number: int) -> list[type]:
    """Return the kinds of so many messages: an odd number starts with the system's, then the others alternate."""
    return [_System] * (number % 2) + [_User, _Assistant] * (number // 2)


def _with_tools(line: bytes, record: _Chat) -> Seen | None:
    """See a chat with tools: each call declared, well formed and answered in turn."""
    keys = tuple(key for key in ("tools", "parallel_tool_calls") if getattr(record, key) is not msgspec.UNSET)
    tools = None if record.tools is msgspec.UNSET else _tools(bytes(record.tools))
    if tools is None or is_upsetting(line):
        return None
    texts: list[str] = []
    asked = trained = colons = 0
    wanted: tuple[type, ...] = (_System, _User)
    waiting: set[str] = set()
    for message in record.messages:
        kind = type(message)
        if kind not in wanted:
            return None
        colons += 2
        if isinstance(message, _Assistant):
            said = _said(message, tools.names, waiting)
            if said is None:
                return None
            asked, (turn, extra) = len(texts), said
            texts += turn
            colons += extra
            trained += message.weight != 0
            wanted = (_Tool,) if waiting else (_User,)
        else:
            if message.content.isspace():
                return None
            if isinstance(message, _Tool):
                if message.tool_call_id not in waiting:
                    return None
                waiting.remove(message.tool_call_id)
                colons += 1 + message.tool_call_id.count(":")
            texts.append(message.content)
            wanted = (_Tool,) if waiting else (_User,) if kind is _System else (_Assistant,)
    open_end = type(record.messages[-1]) is _Assistant
    spoken = "".join(texts)
    colons += spoken.count(":") + tools.colons + 1 + len(keys)
    if not open_end or not trained or line.count(b":") != colons:
        return None
    first = int(type(record.messages[0]) is _System)
    if is_suspect(spoken):
        return None
    content = tools.size + len(spoken.encode())
    return Seen(len(record.messages), content, key_of(texts[first:asked]), keys)


def _said(message: _Assistant, declared: frozenset[str], waiting: set[str]) -> tuple[list[str], int] | None:
    """Return the texts of an answer and the colons of its keys (less the content's own); open its calls."""
    texts: list[str] = []
    colons = (message.content is not msgspec.UNSET) - 1 + (message.weight is not msgspec.UNSET)
    if isinstance(message.content, str):
        if message.content.isspace():
            return None
        texts.append(message.content)
    if message.tool_calls is msgspec.UNSET:
        return (texts, colons) if texts else None
    colons += 1
    for call in message.tool_calls:
        function = call.function
        if function.name not in declared or call.id in waiting or not is_object(function.arguments):
            return None
        waiting.add(call.id)
        texts += (function.name, function.arguments)
        colons += 5 + call.id.count(":")
    return texts, colons


_known_tools: dict[bytes, Tools | None] = {}


class Tools(NamedTuple):
    """Be faultless tools: their names, and the colons and bytes of their JSON."""

    names: frozenset[str]
    colons: int
    size: int


def _tools(raw: bytes) -> Tools | None:
    """Return the tools if they are faultless; many records declare the same, so the last are kept."""
    if raw not in _known_tools:
        if len(_known_tools) >= _REMEMBERED:
            _known_tools.clear()
        _known_tools[raw] = _look_at_tools(raw)
    return _known_tools[raw]


def _look_at_tools(raw: bytes) -> Tools | None:
    """Look at tools that were not met before; written anew they have fewer colons if a key stands in them twice.

    Odd escapes are looked for in the whole line.
    """
    if has_long_number(raw):
        return None
    try:
        tools = _decode_tools(raw)
    except NOT_CLEAN:
        return None
    if raw.count(b"{") + raw.count(b"[") >= DEEPEST:
        parameters = [tool.function.parameters for tool in tools]
        if is_too_deep(parameters, levels=DEEPEST - _ABOVE):
            return None
    names = frozenset([tool.function.name for tool in tools])
    written = msgspec.json.encode(tools)
    colons = raw.count(b":")
    if not tools or len(names) < len(tools) or written.count(b":") != colons or is_suspect(written.decode()):
        return None
    return Tools(names, colons, len(written))


def preference(line: bytes) -> Seen | None:
    """Return what was seen of a clean preference pair, None if a closer look is needed."""
    try:
        pair = _decode_preference(line)
    except NOT_CLEAN:
        return None
    asked = pair.input.messages
    turns = asked[1:] if type(asked[0]) is _System else asked
    if len(turns) % 2 == 0 or any(type(m) is not (_Output if i % 2 else _User) for i, m in enumerate(turns)):
        return None
    texts = [m.content for m in (*asked, *pair.preferred_output, *pair.non_preferred_output)]
    if texts[-1] == texts[-2] or any(map(str.isspace, texts)) or is_upsetting(line):
        return None
    said = "".join(texts)
    if line.count(b":") != said.count(":") + 2 * len(texts) + 4 or is_suspect(said):
        return None
    key = key_of([message.content for message in turns])
    return Seen(len(texts), len(said) if said.isascii() else len(said.encode()), key)
