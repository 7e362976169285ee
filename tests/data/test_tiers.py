from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytune.data.check import clean
from anytune.data.check.fault import Fault
from anytune.data.check.record import size_of
from anytune.data.check.rules import COLUMNS, minded
from anytune.data.check.survey import Survey, examine
from anytune.data.check.tally import Tally, Terms
from anytune.data.lines import Lines
from tests.data.samples import CHAT, assistant, user

Record = dict[str, Any]
SLOW = [HealthCheck.too_slow]  # a busy machine is no fault
MANY = settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
TRICKY = st.sampled_from(["role", '"role":', "\\", '\\"', ":", ' : "', "\x00", "\u2028", "🌊", "é", "{", "]}", "a\nb"])
TEXT = st.lists(st.one_of(TRICKY, st.text(max_size=6)), min_size=1, max_size=4).map("".join)
SPOKEN = TEXT.filter(lambda text: bool(text.strip()) and "\x00" not in text)


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


def seen_closely(line: bytes, method: Literal["sft", "dpo"]) -> tuple[Record | None, list[Fault]]:
    faults: list[Fault] = []
    record = examine(line, method, faults)
    return record, [fault for fault in faults if fault.code in minded(COLUMNS)]


@MANY
@given(mutated(chats()))
def test_a_chat_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    size = clean.chat(line)
    record, faults = seen_closely(line, "sft")
    if size is not None:
        assert faults == []
        assert record is not None
        assert size_of(record) == size


@MANY
@given(mutated(pairs()))
def test_a_pair_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    size = clean.preference(line)
    record, faults = seen_closely(line, "dpo")
    if size is not None:
        assert faults == []
        assert record is not None
        assert size_of(record) == size


FIELDS = [*KEYS, "type", "function", "id", "arguments", "text", "image_url", "url", "tool_call_id", "parameters"]
WORDS = st.sampled_from([*ROLES, "function", "text", "image_url", "refusal", "call_1", "{}", ""])
RECORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)),
    max_leaves=25,
)


@MANY
@given(RECORDS, RECORDS, RECORDS, st.sampled_from(["sft", "dpo"]))
def test_no_record_crashes_the_check(one: Any, two: Any, three: Any, method: Literal["sft", "dpo"]) -> None:
    records = [
        one,
        {"messages": [one, two], "tools": three},
        {"messages": [{"role": "assistant", "tool_calls": one}, {"role": "tool", "content": [two]}, three]},
        {"input": one, "preferred_output": two, "non_preferred_output": three},
    ]
    terms = Terms(minded(COLUMNS), method, 20)
    tally = Tally(terms)
    survey = Survey(terms, tally)
    for number, record in enumerate(records, start=1):
        survey.see(number, json.dumps(record).encode())
    assert all(issue.line and issue.column and issue.message for issue in tally.issues("error"))


@MANY
@given(chats())
def test_good_chats_are_found_good(record: Record) -> None:
    line = json.dumps(record).encode()
    assert seen_closely(line, "sft") == (record, [])


@MANY
@given(pairs())
def test_good_pairs_are_found_good(record: Record) -> None:
    line = json.dumps(record).encode()
    assert seen_closely(line, "dpo") == (record, [])


def test_the_commonest_chats_pass_quickly() -> None:
    assert clean.chat(b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}')
    assert clean.chat(
        b'{"messages":[{"role":"user","content":"\\u00e9"},{"role":"assistant","content":"b","weight":1}]}'
    )
    assert clean.preference(
        b'{"input": {"messages": [{"role": "user", "content": "a"}]}, '
        b'"preferred_output": [{"role": "assistant", "content": "b"}], '
        b'"non_preferred_output": [{"role": "assistant", "content": "c"}]}'
    )


def set_last(key: str, value: Any) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        record["messages"][-1][key] = value

    return change


BREAKS: dict[str, Callable[[Record], Any]] = {
    "role-missing": lambda record: record["messages"][0].pop("role"),
    "role-unknown": set_last("role", "bot"),
    "content-missing": lambda record: record["messages"][0].pop("content"),
    "content-null": set_last("content", None),
    "content-type": set_last("content", {}),
    "content-empty": set_last("content", "\n"),
    "weight-invalid": set_last("weight", 1.0),
    "weight-boolean": set_last("weight", True),
    "message-key-unknown": set_last("mood", "calm"),
    "message-not-an-object": lambda record: record["messages"].insert(0, "x"),
    "assistant-missing": lambda record: record.update(
        messages=[m for m in record["messages"] if m["role"] != "assistant"]
    ),
    "last-not-assistant": lambda record: record["messages"].append(user()),
    "assistant-repeated": lambda record: record["messages"].append(assistant()),
    "system-not-first": lambda record: record["messages"].insert(1, {"role": "system", "content": "x"}),
    "messages-empty": lambda record: record["messages"].clear(),
    "record-key-unknown": lambda record: record.update(id=7),
    "messages-missing": lambda record: record.pop("messages"),
    "tools-not-a-list": lambda record: record.update(tools={}),
}


@pytest.mark.parametrize("code", BREAKS)
@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(record=chats())
def test_a_broken_chat_is_caught(code: str, record: Record) -> None:
    BREAKS[code](record)
    line = json.dumps(record).encode()
    assert clean.chat(line) is None
    assert code in {fault.code for fault in seen_closely(line, "sft")[1]}


@MANY
@given(st.lists(st.binary(max_size=5), max_size=8), st.integers(1, 7), st.integers(0, 9))
def test_lines_do_not_hang_on_the_borders_of_chunks(pieces: list[bytes], chunk: int, longest: int) -> None:
    raw = b"\n".join(pieces)
    expected = raw.split(b"\n")
    if not expected[-1]:
        expected.pop()
    lines = Lines(io.BytesIO(raw), chunk=chunk, longest=longest)
    assert list(lines) == [
        (number, line if len(line) <= longest else None) for number, line in enumerate(expected, start=1)
    ]
    assert lines.size == len(raw)


@pytest.mark.parametrize("path", sorted(CHAT.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_report_does_not_hang_on_the_borders_of_chunks(path: Path) -> None:
    found = []
    for chunk in (1, 17, 1 << 20):
        terms = Terms(minded(COLUMNS), "sft", 20)
        tally = Tally(terms)
        survey = Survey(terms, tally)
        lines = Lines(io.BytesIO(path.read_bytes()), chunk=chunk)
        for number, line in lines:
            survey.see(number, line)
        found.append((tally.counts, tally.issues("error"), tally.issues("warning"), survey.tokens(), lines.sha256))
    assert found[0] == found[1] == found[2]
