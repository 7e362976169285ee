from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import pairwise
from threading import Event
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check import clean
from anytune.data.check.fault import Fault
from anytune.data.check.line import examine, record_in
from anytune.data.check.parts import cuts, each
from anytune.data.check.rows import Scratch
from anytune.data.check.rules import COLUMNS, minded
from anytune.data.check.seen import seen_in
from anytune.data.check.sound import DEEPEST
from anytune.data.check.survey import SAMPLE, Sample, Survey
from anytune.data.check.tally import Terms
from anytune.data.lines import Block, Lines
from tests.data.records import MANY, RECORDS, SLOW, Record, chats, chats_with_tools, mutated, pairs
from tests.data.samples import assistant, user


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
@given(mutated(chats_with_tools()))
def test_a_chat_with_tools_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    seen = clean.chat(line)
    record, faults = seen_closely(line, "sft")
    if seen is not None:
        assert faults == []
        assert record is not None
        assert seen_in(record) == seen


@pytest.mark.parametrize("levels", range(DEEPEST - 8, DEEPEST + 4))
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a": ', "}")])
def test_tools_of_any_depth_are_taken_as_a_closer_look_takes_them(levels: int, brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    deep = json.loads(opening * levels + "7" + closing * levels)
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {"deep": deep}}}]
    tools += [{"type": "function", "function": {"name": f"tide_{n}", "parameters": {}}} for n in range(DEEPEST)]
    line = json.dumps({"messages": [user(), assistant()], "tools": tools}).encode()
    record, faults = seen_closely(line, "sft")
    assert [fault.code for fault in faults] == ["nested-too-deep"] * (levels > DEEPEST - 5)
    seen = clean.chat(line)
    assert (seen is not None) == (levels < DEEPEST - 5)
    assert seen is None or (record is not None and seen == seen_in(record))


@MANY
@given(mutated(pairs()))
def test_a_pair_that_passes_quickly_has_no_fault_on_a_closer_look(line: bytes) -> None:
    seen = clean.preference(line)
    record, faults = seen_closely(line, "dpo")
    if seen is not None:
        assert faults == []
        assert record is not None
        assert seen_in(record) == seen


@MANY
@given(RECORDS, RECORDS, RECORDS, st.sampled_from(["sft", "dpo", "rft"]))
def test_no_record_crashes_the_check(one: Any, two: Any, three: Any, method: Literal["sft", "dpo", "rft"]) -> None:
    records = [
        one,
        {"messages": [one, two], "tools": three},
        {"messages": [{"role": "assistant", "tool_calls": one}, {"role": "tool", "content": [two]}, three]},
        {"input": one, "preferred_output": two, "non_preferred_output": three},
    ]
    survey = Survey(Terms(minded(COLUMNS, method), method, 20), Scratch())
    text = b"\n".join(json.dumps(record).encode() for record in records)
    survey.take(Block(0, text, len(text)))
    survey.finish()
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
    surveys, sample = [], Sample()
    for start, end in ranges:
        survey = Survey(Terms(minded(COLUMNS), "sft", 3), Scratch(), form="chat", sample=sample)
        stream = io.BytesIO(raw)
        stream.seek(start)
        for block in Lines(stream, chunk=chunk, start=start, end=end).blocks():
            survey.take(block)
        survey.finish()
        surveys.append(survey)
    first, *others = surveys
    for other in others:
        first.merge(other)
    lengths = [length for _, lengths in first.rows.pieces() for length in lengths]
    sizes = (first.lines, first.examples, first.messages, first.content, lengths)
    return first.tally.counts, first.tally.issues(), first.key_sets, sizes, sorted(sample.lines)


def test_parts_come_in_order_and_the_longest_work_that_begins_first_comes_last() -> None:
    begun: list[int] = []

    def work(index: int, stop: Event) -> int:
        begun.append(index)
        assert not stop.is_set()
        return index * index

    assert list(each(work, 5, workers=1, meanwhile=lambda: None)) == [1, 4, 9, 16, 0]
    assert begun == [0, 1, 2, 3, 4]


def test_what_is_not_waited_for_any_more_is_told_to_stop() -> None:
    stops: list[Event] = []

    def work(index: int, stop: Event) -> int:
        stops.append(stop)
        return index

    results = each(work, 5, workers=2, meanwhile=lambda: None)
    assert next(results) == 1
    results.close()
    assert all(stop.is_set() for stop in stops)


def test_what_fails_beside_the_threads_stops_them() -> None:
    def work(index: int, stop: Event) -> bool:
        return stop.wait(60)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(each(work, 5, workers=2, meanwhile=fail))


def test_a_sample_does_not_hang_on_who_fills_it_and_when() -> None:
    lines = [f"{number:032}".encode().ljust(72, b"-") for number in range(9_000)]
    whole, shared = Sample(), Sample()
    whole.take(lines)
    for start in range(0, len(lines), 100):
        late = shared.mask
        shared.take(lines[start : start + 50])
        assert late <= shared.mask
    for start in range(50, len(lines), 100):
        shared.take(lines[start : start + 50])
    assert len(whole.lines) <= SAMPLE < 2.2 * len(whole.lines)
    assert sorted(shared.lines) == sorted(whole.lines)


def test_a_file_is_cut_at_line_feeds_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytune.data.check.parts.PART", 10)
    raw = b"aaaa\nbbbbbbbbbbbbbbb\n\nc\ndddddddd"
    ranges = cuts(io.BytesIO(raw), len(raw))
    assert len(ranges) > 1
    assert b"".join(raw[start:end] for start, end in ranges) == raw
    assert all(raw[:end].endswith(b"\n") for _, end in ranges[:-1])


DEEP = json.dumps({"messages": [{"role": "user", "content": "x"}], "x": json.loads("[" * 70 + "]" * 70)})
ODD = (b'{"messages": NaN}', b'{"a": 1, "a": 2}', b'{"text": "a"},', b'{"text": "\\ud800"}', b"[]", b"", DEEP.encode())


@MANY
@given(st.one_of(mutated(chats()), mutated(pairs()), st.sampled_from(ODD)), st.sampled_from(["sft", "dpo", "rft"]))
def test_a_record_is_the_same_whether_its_faults_are_looked_for_or_not(
    line: bytes, method: Literal["sft", "dpo", "rft"]
) -> None:
    # As text, for NaN is not NaN.
    assert repr(record_in(line, method)) == repr(examine(line, method, []))
