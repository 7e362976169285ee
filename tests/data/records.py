"""Records to test with: good ones, good ones that were changed in a few places, and any JSON at all."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from anytune.data.check.garble import is_suspect
from tests.amount import examples
from tests.data.samples import assistant, user

Record = dict[str, Any]
SLOW = [HealthCheck.too_slow]  # a busy machine is no fault
MANY = settings(max_examples=examples(150), deadline=None, suppress_health_check=SLOW)
TRICKY = st.sampled_from(["role", '"role":', "\\", '\\"', ":", ' : "', "\x00", "\u2028", "🌊", "é", "{", "]}", "a\nb"])
TEXT = st.lists(st.one_of(TRICKY, st.text(max_size=6)), min_size=1, max_size=4).map("".join)
SPOKEN = TEXT.filter(lambda text: bool(text.strip()) and "\x00" not in text and not is_suspect(text))


@st.composite
def chats(draw: st.DrawFn) -> Record:
    messages: list[Record] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(SPOKEN)})
    for _ in range(draw(st.integers(1, 3))):
        weight = draw(st.sampled_from([{}, {"weight": 0}, {"weight": 1}]))
        messages += [user(draw(SPOKEN)), assistant(draw(SPOKEN), **weight)]
    messages[-1].pop("weight", None)
    return {"messages": messages}


@st.composite
def chats_with_tools(draw: st.DrawFn) -> Record:
    record = draw(chats())
    parameters = {"type": "object", "properties": {draw(TEXT): {"type": "string", "description": draw(TEXT)}}}
    function = {"name": "get_tide", "description": draw(TEXT), "parameters": parameters}
    record["tools"] = [{"type": "function", "function": function}]
    called = json.dumps({draw(TEXT): draw(TEXT)})
    calls = [
        {"id": f"call:{i}", "type": "function", "function": {"name": "get_tide", "arguments": called}}
        for i in range(draw(st.integers(1, 2)))
    ]
    said = draw(st.sampled_from([{}, {"content": None}, {"content": "Let me see: ..."}]))
    record["messages"] += [user(draw(SPOKEN)), {"role": "assistant", **said, "tool_calls": calls}]
    if draw(st.booleans()):
        record["messages"] += [{"role": "tool", "tool_call_id": c["id"], "content": draw(SPOKEN)} for c in calls]
        record["messages"].append(assistant(draw(SPOKEN)))
    if draw(st.booleans()):
        record["parallel_tool_calls"] = draw(st.booleans())
    return record


@st.composite
def pairs(draw: st.DrawFn) -> Record:
    worse, better = draw(SPOKEN), draw(SPOKEN)
    asked = draw(chats())["messages"][:-1]
    for message in asked:
        message.pop("weight", None)
    return {
        "input": {"messages": asked},
        "preferred_output": [assistant(better + "!")],
        "non_preferred_output": [assistant(worse + "?")],
    }


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)
KEYS = ["role", "content", "weight", "name", "messages", "tools", "tool_calls", "input", "preferred_output", "x"]
ROLES = ["system", "user", "assistant", "tool", "developer", "human"]


def containers(value: Any) -> list[Any]:
    """List all objects and lists within a value."""
    if not isinstance(value, dict | list):
        return []
    below = value.values() if isinstance(value, dict) else value
    return [value, *(found for inner in below for found in containers(inner))]


@st.composite
def mutated(draw: st.DrawFn, records: st.SearchStrategy[Record]) -> bytes:
    """Change a good record in a few places, as a value and as bytes."""
    record = draw(records)
    for _ in range(draw(st.integers(0, 2))):
        held = draw(st.sampled_from(containers(record)))
        value = draw(st.one_of(JSON, st.sampled_from(ROLES), st.sampled_from([0, 1, True, 1.0, ""])))
        if isinstance(held, dict):
            key = draw(st.sampled_from(KEYS))
            held[key] = value
            if draw(st.booleans()):
                held.pop(key)
        elif held and draw(st.booleans()):
            held.pop(draw(st.integers(0, len(held) - 1)))
        else:
            held.insert(draw(st.integers(0, len(held))), held[0] if held and draw(st.booleans()) else value)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", "\t:")]))
    text = json.dumps(record, ensure_ascii=draw(st.booleans()), separators=separators)
    line = text.encode(errors="surrogatepass")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        piece = draw(
            st.sampled_from([b"", b'"', b"\\", b",", b'"role":"user",', b'"r\\u006fle":"user",', b"\xff", b" "])
        )
        line = line[:at] + piece + line[at + draw(st.integers(0, 2)) :]
    return line.replace(b"\n", b" ")


@st.composite
def with_other_texts(draw: st.DrawFn, line: bytes) -> bytes:
    """Put other texts, or none, into some messages of a line, wherever they stand in it."""
    try:
        messages = json.loads(line)["messages"]
        texts = [message["content"] for message in messages]
    except (ValueError, LookupError, TypeError):
        return line
    for text in texts:
        for escaped in (True, False):
            old = json.dumps(text, ensure_ascii=escaped).encode(errors="surrogatepass")
            new = json.dumps(draw(TEXT | st.sampled_from([text, "", " ", None]))).encode()
            line = line.replace(old, new, draw(st.integers(0, 1)))
    return line


FIELDS = [*KEYS, "type", "function", "id", "arguments", "text", "image_url", "url", "tool_call_id", "parameters"]
WORDS = st.sampled_from([*ROLES, "function", "text", "image_url", "refusal", "call_1", "{}", ""])
RECORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)),
    max_leaves=25,
)
