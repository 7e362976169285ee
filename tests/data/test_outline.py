"""The compiled reader and the rules say the same of every line; what it cannot tell, it leaves to them."""

from __future__ import annotations

import json
import sys
import threading
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.check import check, gather
from anytune.data.check.fault import Fault
from anytune.data.check.line import examine
from anytune.data.check.outline import Outlines, Sort
from anytune.data.check.rows import Scratch
from anytune.data.check.rules import COLUMNS, minded
from anytune.data.check.seen import key_of, native, seen_in
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Terms
from anytune.data.lines import Block
from tests.amount import examples
from tests.data.records import (
    JSON,
    RECORDS,
    SLOW,
    TEXT,
    Record,
    chats,
    chats_with_tools,
    mutated,
    pairs,
    with_other_texts,
)
from tests.data.samples import assistant, user

pytestmark = pytest.mark.skipif(native is None, reason="the compiled part is missing")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "chat"
MOST = settings(max_examples=examples(150), deadline=None, suppress_health_check=SLOW)
FEWER = settings(MOST, max_examples=examples(50))  # each is a report of nine lines, several times
METHODS = st.sampled_from(["sft", "dpo", "rft"])
Method = Literal["sft", "dpo", "rft"]


def outlined(line: bytes) -> tuple[bytes, int, int, list[bytes]] | None:
    assert native is not None
    found: tuple[bytes, int, int, list[bytes]] | None = native.Outlines().outline(line)
    return found


def closely(line: bytes, method: Method) -> tuple[Record | None, list[Fault]]:
    faults: list[Fault] = []
    return examine(line, method, faults), faults


def told(faults: list[Fault]) -> list[tuple[Any, ...]]:
    return [(fault.code, fault.path, fault.at_key, fault.among) for fault in faults]


def written(record: Any, *, escaped: bool = True) -> bytes:
    return json.dumps(record, ensure_ascii=escaped).encode(errors="surrogatepass").replace(b"\n", b" ")


LINES = st.one_of(
    st.tuples(mutated(chats()), st.integers(1, 60)).map(lambda each: each[0][: each[1]]),
    mutated(chats()),
    mutated(chats_with_tools()),
    mutated(pairs()),
    RECORDS.map(written),
    st.tuples(RECORDS, RECORDS, RECORDS).map(lambda each: written({"messages": [each[0], each[1]], "tools": each[2]})),
    st.tuples(RECORDS, RECORDS, JSON).map(
        lambda each: written({"input": each[0], "preferred_output": each[1], "non_preferred_output": each[2]})
    ),
)


@MOST
@given(LINES, METHODS)
def test_an_outline_has_the_faults_of_its_line(line: bytes, method: Method) -> None:
    found = outlined(line)
    if found is None or found[0] in (b"", b"{"):
        return
    record, faults = closely(line, method)
    like, alike = closely(found[0], method)
    assert told(alike) == told(faults)
    assert record is not None
    assert like is not None
    assert seen_in(like).messages == seen_in(record).messages


@MOST
@given(LINES, st.data(), METHODS)
def test_a_line_that_is_counted_has_the_faults_and_sizes_that_a_closer_look_finds(
    line: bytes, data: st.DataObject, method: Method
) -> None:
    outlines = Outlines()
    record, faults = closely(line, method)
    if record is not None:
        kinds = tuple(fault.kind for fault in faults)
        outlines.learn(line, seen_in(record), Sort(kinds, seen_in(record).messages))
    other = data.draw(with_other_texts(line))
    key = outlines.find(other)
    if key is None:
        return
    record, faults = closely(other, method)
    assert record is not None
    seen, totals = seen_in(record), outlines.totals()
    assert totals.kinds == Counter(fault.kind for fault in faults)
    assert (key, totals.messages, totals.content) == (seen.key, seen.messages, seen.content)


@MOST
@given(LINES)
def test_a_sound_line_is_json_without_a_key_that_stands_twice(line: bytes) -> None:
    found = outlined(line)
    if found is None or found[0] in (b"", b"{"):
        return

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in members}) == len(members)
        return dict(members)

    assert isinstance(json.loads(line.decode(), object_pairs_hook=once, parse_constant=pytest.fail), dict)
    json.loads(line.decode()).__repr__().encode()  # no half characters


@MOST
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_bytes_crash_the_reader(raw: bytes, more: bytes) -> None:
    outlines = Outlines()
    for text in (raw, b'{"messages": [' + raw + b"]}", b'{"a": "' + raw + b'"}\n' + more):
        scanned = outlines.scan(text, 0)
        lines = text.removesuffix(b"\n").split(b"\n") if text else []
        assert scanned.lengths.tolist() == [len(line) for line in lines]
        assert [text[start:end] for _, start, end, _ in scanned.others] == lines


@pytest.mark.parametrize("escaped", [True, False])
@MOST
@given(first=TEXT, last=TEXT)
def test_a_prompt_has_one_key_however_it_is_written(first: str, last: str, escaped: bool) -> None:
    record = {"messages": [user(first), assistant("so"), user(last), assistant("yes")]}
    line = written(record, escaped=escaped)
    outlines = Outlines()
    seen = seen_in(json.loads(line))
    outlines.learn(line, seen, Sort(()))
    assert outlines.find(line) in (None, seen.key)
    loose = [" " + " \n".join(text.upper().lower() for text in (first, "")) + "\u3000" for first in (first, last)]
    if first.upper().lower() == first.lower() and last.upper().lower() == last.lower():
        assert key_of(loose) == key_of([first, last])


def test_case_makes_no_difference_to_any_character() -> None:
    assert native is not None
    for code in [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]:
        lower = chr(code).lower()
        if lower != chr(code):
            assert native.key(chr(code).encode()) == native.key(lower.encode()), hex(code)


def test_white_space_makes_no_difference_and_other_scripts_do() -> None:
    blanks = "".join(chr(code) for code in range(0x4000) if chr(code).isspace())
    assert key_of([blanks + "a" + blanks]) == key_of(["A"])
    texts = ["東京", "京都", "Москва", "Афины", "مرحبا", "你好", "한국", "νερό", "שלום", "नमस्ते", "a1", "a2", "1a"]
    assert len({key_of([text]) for text in texts}) == len(texts)
    assert key_of(["ab", "c"]) != key_of(["a", "bc"]) != key_of(["abc"])
    assert len({key_of(["x" * length]) for length in range(600)}) == 600


def test_lines_that_differ_in_texts_ids_and_names_alone_have_one_outline() -> None:
    def talk(question: str, call: str, name: str, source: object) -> bytes:
        function = {"name": name, "arguments": json.dumps({"q": question})}
        messages = [
            user(question),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call, "content": question * 2},
            assistant(question + "!"),
        ]
        declared = {"name": name, "description": question, "parameters": {"type": "object", "properties": {}}}
        return written({"messages": messages, "tools": [{"type": "function", "function": declared}], "source": source})

    one, two = outlined(talk("What?", "call_1", "get", "a")), outlined(talk("Où ça", "call:2", "find_it", "b"))
    assert one is not None
    assert two is not None
    assert one[0] == two[0]
    assert one[0] != (outlined(talk("What?", "call_1", "get it", "a")) or one)[0]
    assert outlined(talk("What?", "1", "get", 7)) != outlined(talk("What?", "1", "get", "7"))
    assert (outlined(talk("What?", "1", "get", 7)) or one)[0] == (outlined(talk("What?", "1", "get", 8)) or two)[0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\xc3"}',
        '{"a": "cafÃ©"}'.encode(),
        b'{"a": "\\u00c2"}',
        '{"a": "\ufffd"}'.encode(),
        '{"a": "â€”"}'.encode(),
        b'{"a": 1234567890123456789012}',
        b'{"a": 1e9}',
        b'{"a": 01}',
        b'{"a": 1.}',
        b'{"a": -}',
        b'{"a": NaN}',
        b'{"a": .5}',
        b'{"a": "\t"}',
        b'{"a": "\\x"}',
        b'{"a": 1,}',
        b'{"a" 1}',
        b'{"a": 1\r, "b": 2}',
        b"[1]",
        b"7",
        b'{"\\u0061": 1}',
        b'{"a": ' + b"[" * 80 + b"]" * 80 + b"}",
        b'{"a": {' + b",".join(b'"%d": 1' % number for number in range(100)) + b"}}",
        b'{"a": ["' + b'","'.join([b"x"] * 3000) + b'"]}',
    ],
    ids=lambda line: line[:30].decode(errors="replace"),
)
def test_what_deserves_a_closer_look_is_left_to_the_rules(line: bytes) -> None:
    assert outlined(line) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"a": 1', b"{"),
        (b' {"a": "\t', b"{"),
        (b'{"a": "\\', b"{"),
        (b'{"a": 1\r', b"{"),
        (b'{"a": 1} x', b"{"),
        (b'{"a": {"b": 1}', None),
        (b'{"a": 1,', None),
        (b'{"a": 1\r, "b"', None),
        ('{"a": "é'.encode(), None),
        (b'["a"', None),
        (b'{"a": ' + b"[" * 70, None),
    ],
)
def test_a_line_that_is_cut_off_is_known_as_such(line: bytes, told: bytes | None) -> None:
    found = outlined(line)
    assert (found and found[0]) == told
    if told:
        assert [fault.code for fault in closely(line, "sft")[1]] == ["invalid-json"]


def test_one_thread_at_a_time_reads_outlines() -> None:
    outlines = Outlines()
    text = b'{"messages": [{"role": "user", "content": "a"}]}\n' * 20_000
    met: list[str] = []

    def scan() -> None:
        try:
            outlines.scan(text, 0xFFFFFFFF)
        except RuntimeError as error:
            met.append(str(error))

    threads = [threading.Thread(target=scan) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(met) <= {"outlines are read by one thread at a time"}


def test_outlines_that_are_too_many_are_left_to_the_rules() -> None:
    outlines = Outlines()
    for number in range(5_000):
        line = written({"messages": [user("a"), {**assistant("b"), f"key{number}": 1}]})
        record, _ = closely(line, "sft")
        assert record is not None
        outlines.learn(line, seen_in(record), Sort(()))
    first, last = (
        outlines.find(written({"messages": [user("a"), {**assistant("b"), f"key{number}": 1}]}))
        for number in (0, 4_999)
    )
    assert first is not None
    assert last is None


NUMBERS = st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1))


@MOST
@given(NUMBERS)
def test_repeated_keys_are_found(numbers: list[int]) -> None:
    found = {number for number in numbers if numbers.count(number) > 1} - {0}
    keys = array("q", numbers)
    assert sorted(gather.repeated(keys)) == sorted(found)
    groups = [gather.grouped(keys, group, 3) for group in range(3)]
    assert sorted(number for group in groups for number in group) == sorted(number for number in numbers if number)
    assert sorted(number for group in groups for number in gather.repeated(group)) == sorted(found)


@MOST
@given(NUMBERS, NUMBERS, st.lists(st.integers(0, 70_000)), st.integers(0, 5), st.integers(0, 5))
def test_rows_are_gathered_alike_without_the_compiled_part(
    keys: list[int], wanted: list[int], lengths: list[int], start: int, stop: int
) -> None:
    length = min(len(keys), len(lengths))

    def found() -> object:
        held = array("q", keys)
        sizes = gather.sizes(array("q", keys[:length]), array("q", lengths[:length]))
        places = gather.places(held, array("q", wanted)), gather.places(held, held[:1])
        total = array("q", lengths)
        return sizes, places, gather.total(total), gather.total(total, start, stop), sorted(gather.repeated(held))

    compiled = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anytune.data.check.gather.native", None)
        assert found() == compiled


@pytest.mark.parametrize("ends", [True, False])
def test_many_unknown_lines_of_a_block_are_all_taken(ends: bool) -> None:
    lines = [written({"messages": [user("a"), {**assistant("b"), f"key{n % 150}": n}]}) for n in range(400)]
    lines += [b"{broken", b"", b"not JSON"] * 50
    text = b"\n".join(lines) + (b"\n" if ends else b"")
    survey = Survey(Terms(minded(COLUMNS), "sft", 3), Scratch(), form="chat")
    survey.take(Block(0, memoryview(text), len(text)))
    assert survey.lines == len(lines)
    assert [length for _, lengths in survey.rows.pieces() for length in lengths] == [*map(len, lines)]
    (apart,) = surveyed(lines, 3, "sft")[3:4]  # type: ignore[index]
    survey.finish()
    assert (survey.lines, survey.examples, survey.messages, survey.content, survey.with_images) == apart


@FEWER
@given(st.lists(LINES, min_size=1, max_size=3), st.data(), st.integers(1, 3), METHODS)
def test_a_report_does_not_hang_on_the_blocks_that_lines_come_in(
    lines: list[bytes], data: st.DataObject, show: int, method: Method
) -> None:
    lines = [data.draw(with_other_texts(data.draw(st.sampled_from(lines)))) for _ in range(9)]
    found: list[object] = []
    for blocks in ([b"\n".join(lines)], lines, [b"\n".join(lines[:5]), b"\n".join(lines[5:])]):
        found.append(surveyed(blocks, show, method))
    assert found[1:] == found[:1] * 2


def surveyed(blocks: list[bytes], show: int, method: Method) -> object:
    survey = Survey(Terms(minded(COLUMNS, method), method, show), Scratch(), form="chat")
    offset = 0
    for text in [text + b"\n" for text in blocks]:
        survey.take(Block(offset, text, len(text)))
        offset += len(text)
    survey.finish()
    sizes = (survey.lines, survey.examples, survey.messages, survey.content, survey.with_images)
    keys = [key for keys, _ in survey.rows.pieces() for key in keys]
    return survey.tally.counts, survey.tally.issues(), survey.key_sets, sizes, keys


@FEWER
@given(st.lists(LINES, min_size=1, max_size=3), st.data(), st.integers(1, 3), METHODS)
def test_the_report_is_the_same_without_the_compiled_part(
    lines: list[bytes], data: st.DataObject, show: int, method: Method
) -> None:
    lines = [data.draw(with_other_texts(data.draw(st.sampled_from(lines)))) for _ in range(9)]
    *compiled, keys = surveyed([b"\n".join(lines)], show, method)  # type: ignore[misc]
    with pytest.MonkeyPatch.context() as patch:
        without_the_compiled_part(patch)
        *plain, others = surveyed([b"\n".join(lines)], show, method)  # type: ignore[misc]
    assert plain == compiled
    assert [bool(key) for key in keys] == [bool(key) for key in others]


def without_the_compiled_part(patch: pytest.MonkeyPatch) -> None:
    for module in ("seen", "survey", "parts", "outline"):
        patch.setattr(f"anytune.data.check.{module}.native", None)


def test_every_fixture_has_the_same_report_without_the_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(FIXTURES.glob("*.jsonl"))
    assert len(paths) > 100
    compiled = {method: check(paths, providers=COLUMNS, method=method) for method in ("sft", "dpo", "rft")}
    without_the_compiled_part(monkeypatch)
    for method, report in compiled.items():
        assert check(paths, providers=COLUMNS, method=method) == report
