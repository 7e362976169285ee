"""Round trips: what comes back is what went out, or the loss was named."""

from __future__ import annotations

import copy
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anytune.data.convert import TARGETS, convert
from anytune.data.convert.loss import DETAILS, LEFT_OUT
from anytune.errors import AnytuneError
from tests.amount import examples
from tests.data.samples import assistant, user, write
from tests.data.test_convert import converted, held, make

FEW = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ARGUMENTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-9, 9) | TEXT | st.lists(TEXT), max_size=2)


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: hundreds of small files are written here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@st.composite
def plain_chats(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what Alpaca holds: perhaps a system message, then questions and answers in turn."""
    system = draw(st.none() | TEXT)
    turns = draw(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
    messages = [] if system is None else [{"role": "system", "content": system}]
    return {"messages": messages + [m for q, a in turns for m in (user(q), assistant(a))]}


@st.composite
def tool_chats(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what ShareGPT holds: calls, one or several at a time, each answered."""
    chat = draw(plain_chats())
    calls = 0
    for names in draw(st.lists(st.lists(NAME, min_size=1, max_size=3), min_size=1, max_size=2)):
        made = []
        for name in names:
            calls += 1
            arguments = json.dumps(draw(ARGUMENTS), indent=draw(st.sampled_from([None, 1])))
            function = {"name": name, "arguments": arguments}
            made.append({"id": f"call_{calls}", "type": "function", "function": function})
        content = draw(st.fixed_dictionaries({}, optional={"content": TEXT}))
        chat["messages"] += [user(draw(TEXT)), {"role": "assistant", **content, "tool_calls": made}]
        chat["messages"] += [{"role": "tool", "tool_call_id": c["id"], "content": draw(TEXT)} for c in made]
    chat["messages"].append(assistant(draw(TEXT)))
    chat["tools"] = make.TOOLS["tools"]
    return chat


@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Any]:
    asked = draw(plain_chats())["messages"][:-1]
    tools = draw(st.sampled_from([{}, {"tools": make.TOOLS["tools"]}, {"parallel_tool_calls": False}]))
    sides = {key: [assistant(draw(TEXT))] for key in ("preferred_output", "non_preferred_output")}
    return {"input": {"messages": asked, **tools}, **sides}


ODD_KEYS = {
    "weight": st.sampled_from([0, 1]),
    "name": NAME,
    "reasoning_content": TEXT,
    "refusal": TEXT,
    "content": st.sampled_from(
        ["", [{"type": "text", "text": "a"}], [{"type": "image_url", "image_url": {"url": "u"}}]]
    ),
    "role": st.sampled_from(["developer", "user", "assistant", "system"]),
}


@st.composite
def odd_records(draw: st.DrawFn) -> dict[str, Any]:
    """Draw chats and pairs with what other formats may not hold."""
    record = copy.deepcopy(draw(plain_chats() | tool_chats() | pairs()))
    messages = record.get("input", record)["messages"]
    for _ in range(draw(st.integers(0, 2))):
        message = draw(st.sampled_from(messages))
        key = draw(st.sampled_from(sorted(ODD_KEYS)))
        if message["role"] != "tool":
            message[key] = draw(ODD_KEYS[key])
    for call in messages[-1].get("tool_calls", ()):
        call["id"] = draw(NAME)
    return record | draw(st.sampled_from([{}, {"weight": 0.5}, {"parallel_tool_calls": True}]))


def there_and_back(tmp_path: Path, records: list[Any], to: str) -> None:
    path = write(tmp_path / "a.jsonl", *records)
    there = convert(path, to=to, out=tmp_path / "there.jsonl", force=True)
    assert (there.counts, there.written) == ({}, len(records))
    assert there.out is not None
    back = convert(there.out, out=tmp_path / "back.jsonl", force=True)
    assert back.counts == {}
    assert [settled(record) for record in held(back)] == [settled(record) for record in records]


def settled(value: Any) -> Any:
    """Read the arguments of calls: blanks between their tokens carry nothing."""
    if isinstance(value, dict):
        return {k: json.loads(v) if k == "arguments" else settled(v) for k, v in value.items()}
    return [settled(item) for item in value] if isinstance(value, list) else value


@FEW
@given(st.lists(plain_chats() | tool_chats(), min_size=1, max_size=4))
def test_a_chat_comes_back_from_sharegpt(tmp_path: Path, records: list[Any]) -> None:
    there_and_back(tmp_path, records, "sharegpt")


@FEW
@given(st.lists(plain_chats(), min_size=1, max_size=4))
def test_a_plain_chat_comes_back_from_alpaca(tmp_path: Path, records: list[Any]) -> None:
    there_and_back(tmp_path, records, "alpaca")


@FEW
@given(st.lists(pairs(), min_size=1, max_size=4))
def test_a_pair_comes_back_from_trl(tmp_path: Path, records: list[Any]) -> None:
    there_and_back(tmp_path, records, "trl")


@FEW
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
def test_a_question_comes_back_from_prompt_and_completion(tmp_path: Path, turns: list[tuple[str, str]]) -> None:
    there_and_back(tmp_path, [{"messages": [user(q), assistant(a)]} for q, a in turns], "prompt-completion")


@FEW
@given(st.lists(plain_chats() | tool_chats() | pairs(), min_size=1, max_size=3))
def test_what_is_a_chat_already_stays_as_it_is(tmp_path: Path, records: list[Any]) -> None:
    kinds = {"input" in record for record in records}
    done, same = converted(write(tmp_path / "a.jsonl", *records))
    if len(kinds) == 1:
        assert same == records
    else:
        assert set(done.counts) == {"mixed-kinds"}


@FEW
@given(odd_records(), st.sampled_from(TARGETS))
def test_what_does_not_come_back_was_named(tmp_path: Path, record: dict[str, Any], to: str) -> None:
    read, chats = converted(write(tmp_path / "a.jsonl", record))
    if not chats:
        assert read.counts, "a record that is left out is named"
        return
    path = write(tmp_path / "b.jsonl", *chats)
    there = convert(path, to=to, out=tmp_path / "there.jsonl", force=True)
    if there.out is None:
        assert set(there.counts) <= LEFT_OUT.keys()
        return
    back = held(convert(there.out, out=tmp_path / "back.jsonl", force=True))
    assert settled(back) == settled(chats) or set(there.counts) & DETAILS.keys()


POOL = [record for records in make.LINES.values() for record in records] + make.SHAREGPT
ODD = [None, True, 0, 2.5, "", "hi", [], {}, [{}], [[]], "[1]", {"type": {}}, {"role": []}, [{"role": "tool"}]]


def spots(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [spot for key in keys for spot in ((value, key), *spots(value[key]))]


@st.composite
def broken_records(draw: st.DrawFn) -> Any:
    record = copy.deepcopy(draw(st.sampled_from(POOL)))
    for _ in range(draw(st.integers(1, 3))):
        if found := spots(record):
            holder, key = draw(st.sampled_from(found))
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return record


@FEW
@given(st.lists(broken_records(), min_size=20, max_size=40), st.sampled_from(TARGETS))
def test_no_record_however_odd_brings_a_conversion_down(tmp_path: Path, records: list[Any], to: str) -> None:
    done = converted(write(tmp_path / "a.jsonl", *records), to=to)[0]
    assert sum(done.counts[code] for code in done.counts if code in LEFT_OUT) == done.left_out


@FEW
@given(st.binary(max_size=60), st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.txt", "a.gz"]))
def test_no_file_however_odd_ends_in_a_traceback(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with suppress(AnytuneError):
        convert(path, out=tmp_path / "out.jsonl", force=True)


@pytest.mark.parametrize("to", TARGETS)
def test_the_order_of_the_records_stays(tmp_path: Path, to: str) -> None:
    path = write(tmp_path / "a.jsonl", *({"text": f"{i}."} for i in range(50)))
    texts = [json.dumps(record) for record in converted(path, to=to)[1]]
    assert all(f'"{i}."' in text for i, text in enumerate(texts))
