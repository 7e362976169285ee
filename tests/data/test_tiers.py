from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytune.data.check import clean
from anytune.data.check.fault import Fault
from anytune.data.check.frame import Frames
from anytune.data.check.garble import is_suspect
from anytune.data.check.line import examine
from anytune.data.check.parts import cuts
from anytune.data.check.record import form_of
from anytune.data.check.rules import COLUMNS, minded
from anytune.data.check.seen import Seen, seen_in
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Terms
from anytune.data.lines import Block, Lines
from tests.data.samples import assistant, user

Record = dict[str, Any]
FOLDER = Path("never-written")
SLOW = [HealthCheck.too_slow]  # a busy machine is no fault
MANY = settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
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


def seen_closely(line: bytes, method: Literal["sft", "dpo"]) -> tuple[Record | None, list[Fault]]:
    faults: list[Fault] = []
    record = examine(line, method, faults)
    return record, [fault for fault in faults if fault.code in minded(COLUMNS, method)]


@MANY
@given(mutated(chats()))
def test_a_chat_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    seen = clean.chat(line)
    record, faults = seen_closely(line, "sft")
    if seen is not None:
        assert faults == []
        assert record is not None
        assert seen_in(record) == seen


@MANY
@given(st.lists(mutated(chats() | chats_with_tools()), min_size=1, max_size=4), st.data())
def test_a_line_in_a_known_frame_has_the_faults_that_a_closer_look_finds(
    lines: list[bytes], data: st.DataObject
) -> None:
    frames = Frames()
    for line in lines:
        record, faults = seen_closely(line, "sft")
        if record is not None and form_of(record) == "chat":
            frames.learn(line, record, seen_in(record), tuple(fault.code for fault in faults))
    others = [data.draw(with_other_texts(line)) for line in lines]
    found = frames.find(b"\n".join(others), others, all_told)
    if found is not None:
        seen: list[Seen] = []
        for place, frame in zip(found.places, found.frames, strict=True):
            record, faults = seen_closely(others[place], "sft")
            assert tuple(fault.code for fault in faults) == frame.codes
            assert record is not None
            seen.append(seen_in(record))
        assert found.keys == [each.key for each in seen]
        assert found.messages == sum(each.messages for each in seen)
        assert found.content == sum(each.content for each in seen)


def all_told(codes: tuple[str, ...]) -> bool:
    del codes
    return True


@MANY
@given(st.lists(mutated(chats() | chats_with_tools()), min_size=1, max_size=3), st.data(), st.integers(1, 3))
def test_the_report_is_the_same_whether_frames_are_known_or_not(
    lines: list[bytes], data: st.DataObject, show: int
) -> None:
    lines = [data.draw(with_other_texts(data.draw(st.sampled_from(lines)))) for _ in range(9)]
    found: list[object] = []
    for blocks in ([b"\n".join(lines)], lines, [b"\n".join(lines[:5]), b"\n".join(lines[5:])]):
        survey = Survey(Terms(minded(COLUMNS), "sft", show), FOLDER, form="chat")
        number, offset = 1, 0
        for text in [text + b"\n" for text in blocks]:
            survey.take(Block(number, offset, text, len(text)))
            number, offset = survey.lines + 1, offset + len(text)
        sizes = (survey.lines, survey.examples, survey.messages, survey.content)
        found.append((survey.tally.counts, survey.tally.issues(), survey.key_sets, sizes, survey.rows.keys))
    assert found[1:] == found[:1] * 2


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


@MANY
@given(mutated(chats_with_tools()))
def test_a_chat_with_tools_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    seen = clean.chat(line)
    record, faults = seen_closely(line, "sft")
    if seen is not None:
        assert faults == []
        assert record is not None
        assert seen_in(record) == seen


@MANY
@given(mutated(pairs()))
def test_a_pair_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    seen = clean.preference(line)
    record, faults = seen_closely(line, "dpo")
    if seen is not None:
        assert faults == []
        assert record is not None
        assert seen_in(record) == seen


FIELDS = [*KEYS, "type", "function", "id", "arguments", "text", "image_url", "url", "tool_call_id", "parameters"]
WORDS = st.sampled_from([*ROLES, "function", "text", "image_url", "refusal", "call_1", "{}", ""])
RECORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)),
    max_leaves=25,
)


@MANY
@given(RECORDS, RECORDS, RECORDS, st.sampled_from(["sft", "dpo", "rft"]))
def test_no_record_crashes_the_check(one: Any, two: Any, three: Any, method: Literal["sft", "dpo", "rft"]) -> None:
    records = [
        one,
        {"messages": [one, two], "tools": three},
        {"messages": [{"role": "assistant", "tool_calls": one}, {"role": "tool", "content": [two]}, three]},
        {"input": one, "preferred_output": two, "non_preferred_output": three},
    ]
    survey = Survey(Terms(minded(COLUMNS, method), method, 20), FOLDER)
    text = b"\n".join(json.dumps(record).encode() for record in records)
    survey.take(Block(1, 0, text, len(text)))
    assert all(issue.line and issue.column and issue.message for issue in survey.tally.issues())


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


@MANY
@given(st.lists(mutated(chats()), max_size=12), st.integers(1, 400), st.integers(1, 5))
def test_the_report_does_not_hang_on_the_borders_of_chunks_and_parts(
    lines: list[bytes], chunk: int, number: int
) -> None:
    raw = b"\n".join(lines)
    whole = surveyed(raw, [(0, len(raw))], chunk=1 << 20)
    borders = sorted({0, len(raw), *(raw.find(b"\n", len(raw) * i // number) + 1 for i in range(1, number))})
    assert surveyed(raw, list(pairwise(borders)) or [(0, 0)], chunk=chunk) == whole


def surveyed(raw: bytes, ranges: list[tuple[int, int]], *, chunk: int) -> object:
    """Survey ranges of a file apart, put the surveys together, and return all that a report is made of."""
    surveys = []
    for start, end in ranges:
        survey = Survey(Terms(minded(COLUMNS), "sft", 3), FOLDER, form="chat")
        stream = io.BytesIO(raw)
        stream.seek(start)
        for block in Lines(stream, chunk=chunk, start=start, end=end).blocks():
            survey.take(block)
        surveys.append(survey)
    first, *others = surveys
    for other in others:
        first.merge(other)
    sizes = (first.lines, first.examples, first.messages, first.content, list(first.rows.lengths))
    sample = sorted(first.sample.lines)
    return first.tally.counts, first.tally.issues(), first.key_sets, sizes, sample


def test_a_file_is_cut_at_line_feeds_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytune.data.check.parts.PART", 10)
    raw = b"aaaa\nbbbbbbbbbbbbbbb\n\nc\ndddddddd"
    ranges = cuts(io.BytesIO(raw), len(raw))
    assert len(ranges) > 1
    assert b"".join(raw[start:end] for start, end in ranges) == raw
    assert all(raw[:end].endswith(b"\n") for _, end in ranges[:-1])
