"""ShareGPT: what `convert` takes without loss, `fix` keeps, as the same chat."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.convert import convert
from anytune.data.fix import ASKED, Fixed, fix
from anytune.errors import RefusedError
from tests.amount import examples
from tests.data.samples import assistant, chat, report, user, write

MANY = settings(max_examples=examples(100), deadline=None)
TEXT = st.text('ab é\n日"', min_size=1, max_size=6).map(lambda text: f"x{text}")
ASKS = st.sampled_from(["human", "user", "Human", "prompter"])
SAYS = st.sampled_from(["gpt", "assistant", "GPT", "chatgpt", "bard", "model"])
CALLS = st.sampled_from(["function_call", "function-call", "tool_call"])
ANSWERS = st.sampled_from(["observation", "tool", "function_response", "tool_result", "function"])
FUNCTION = {"name": "get_tide", "description": "Tells the tide", "parameters": {"type": "object", "properties": {}}}
TOOLS = [[FUNCTION], [{"type": "function", "function": FUNCTION}], json.dumps([FUNCTION]), "", None]
OTHER_KEYS = {"from": "role", "value": "content"}
ARGUMENTS = st.sampled_from([{}, {"port": "Brest"}, '{"port": "Brest"}', None])
CHATS = [chat(user(f"Tide {n}?"), assistant()) for n in range(3)]
BESIDE = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["Be brief.", "", None]),
        "tools": st.sampled_from(TOOLS),
        "id": st.sampled_from([None, "", "identity_0"]),
        "source": st.sampled_from([None, [], "log"]),
        "parallel_tool_calls": st.just(False),
    },
)


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: hundreds of small files are written here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw a talk as ShareGPT writes it, right or nearly so."""
    made: list[dict[str, Any]] = []
    if draw(st.integers(0, 3)) == 0:
        made.append({"from": "system", "value": draw(TEXT)})
    for _ in range(draw(st.integers(1, 2))):
        made.append({"from": draw(ASKS), "value": draw(TEXT)})
        if draw(st.booleans()):
            calls = [{"name": "get_tide", "arguments": draw(ARGUMENTS)} for _ in range(draw(st.integers(1, 2)))]
            value: Any = calls if len(calls) > 1 else calls[0]
            made.append({"from": draw(CALLS), "value": draw(st.sampled_from([value, json.dumps(value)]))})
            made += [{"from": draw(ANSWERS), "value": draw(TEXT)} for _ in calls]
        made.append({"from": draw(SAYS), "value": draw(TEXT)})
    if draw(st.integers(0, 3)) == 0:
        made[-1]["weight"] = draw(st.sampled_from([0, 1]))
    if draw(st.integers(0, 5)) == 0:
        odd = draw(st.sampled_from([{"from": "elf"}, {"value": None}, {"id": 7}, {"name": "Ann"}, {"value": 5}]))
        draw(st.sampled_from(made)).update(odd)
    if draw(st.integers(0, 5)) == 0:
        del made[draw(st.integers(0, len(made) - 1))]
    return made or [{"from": "human", "value": "x"}]


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(["conversations", "conversations", "messages", "conversation", "turns", "dialog"]))
    said = draw(turns())
    if draw(st.integers(0, 4)) == 0:
        said[1:] = [{OTHER_KEYS.get(key, key): value for key, value in turn.items()} for turn in said[1:]]
    return {key: json.dumps(said) if draw(st.integers(0, 5)) == 0 else said, **draw(BESIDE)}


def fixed(folder: Path, record: Any, **terms: Any) -> tuple[Fixed | None, Any]:
    """Return the report and the one record that is left, None where it is refused or taken out."""
    path, out = write(folder / "before.jsonl", record), folder / "after.jsonl"
    try:
        found = fix(path, out=out, agreed=ASKED, **terms)
    except RefusedError:
        return None, None
    return found, json.loads((found.out or path).read_bytes())


@MANY
@given(records())
def test_what_convert_takes_without_loss_is_kept_as_the_same_chat(record: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = convert(write(folder / "a.jsonl", record), out=folder / "b.jsonl")
        if taken.losses or not taken.written:
            return
        converted = json.loads((folder / "b.jsonl").read_bytes())
        _, kept = fixed(folder, record)
        _, expected = fixed(folder, converted)
        assert kept == expected
        if not report(folder / "b.jsonl", show=1).errors[1:]:  # too few examples is the one
            assert kept is not None


@MANY
@given(records())
def test_what_convert_takes_with_loss_is_kept_when_that_is_agreed(record: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = convert(write(folder / "a.jsonl", record), out=folder / "b.jsonl")
        if not taken.written:
            return
        _, kept = fixed(folder, record)
        _, expected = fixed(folder, json.loads((folder / "b.jsonl").read_bytes()))
        assert (kept is None) == (expected is None)


def test_tools_calls_and_a_system_prompt_beside_the_turns_are_kept_unasked(tmp_path: Path) -> None:
    record = {
        "system": "Be brief.",
        "tools": json.dumps([FUNCTION]),
        "conversations": [
            {"from": "human", "value": "Tide?"},
            {"from": "function_call", "value": '{"name": "get_tide", "arguments": {"port": "Brest"}}'},
            {"from": "observation", "value": "5.9"},
            {"from": "gpt", "value": "5.9 m"},
        ],
    }
    path = write(tmp_path / "a.jsonl", record)
    found = fix(path, out=tmp_path / "b.jsonl")
    assert [(change.code, change.count) for change in found.done] == [("sharegpt", 1)]
    assert found.left == ()
    call = {"id": "call_1", "type": "function", "function": {"name": "get_tide", "arguments": '{"port":"Brest"}'}}
    assert json.loads((tmp_path / "b.jsonl").read_bytes()) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            user(),
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "5.9"},
            assistant(),
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    }


def test_a_pair_beside_conversations_becomes_one(tmp_path: Path) -> None:
    turn = {"from": "human", "value": "Tide?"}
    sides = {"chosen": {"from": "gpt", "value": "5.9 m"}, "rejected": {"from": "gpt", "value": "No."}}
    _, kept = fixed(tmp_path, {"conversations": [turn], **sides}, method="dpo")
    assert kept == {
        "input": {"messages": [user()]},
        "preferred_output": [assistant()],
        "non_preferred_output": [assistant("No.")],
    }


def test_what_a_chat_has_no_place_for_goes_only_when_that_is_agreed(tmp_path: Path) -> None:
    tools = [FUNCTION, {"type": "web_search"}]
    turns = [{"from": "human", "value": "Tide?"}, {"from": "gpt", "value": "5.9 m"}]
    path = write(tmp_path / "a.jsonl", {"conversations": turns, "tools": tools}, *CHATS)
    told = fix(path, out=tmp_path / "b.jsonl")
    assert [(change.code, change.count) for change in told.left if change.code == "sharegpt"] == [("sharegpt", 1)]
    done = fix(path, out=tmp_path / "b.jsonl", agreed=ASKED)
    assert done.removed == 0
    first = json.loads((tmp_path / "b.jsonl").read_bytes().split(b"\n")[0])
    assert first == chat(tools=[{"type": "function", "function": FUNCTION}])


def test_very_many_turns_without_roles_are_looked_at_together(tmp_path: Path) -> None:
    odd = [{"text": "Tide?", "value": 5} for _ in range(5_000)]
    path = write(tmp_path / "a.jsonl", chat(*odd, {"from": "gpt", "value": "5.9 m"}), *CHATS)
    before = time.process_time()
    fix(path, out=tmp_path / "b.jsonl", agreed=ASKED)
    assert time.process_time() - before < 5
