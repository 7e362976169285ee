"""One record with very many of something takes seconds, and no longer for each of them than a record with few."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anytune.data.check import scan
from anytune.data.check.rules import COLUMNS
from anytune.data.convert import convert
from anytune.data.fix import ASKED, fix
from tests.data.samples import assistant, chat, report, user, write

pytestmark = pytest.mark.long

GOOD = [chat(user(f"Question {i}"), assistant(f"Answer {i}")) for i in range(10)]
BOUND = 10  # CPU seconds; a busy machine takes a few
CLEAN = 2  # where there is nothing to tell
MANY = 100_000


def tool(number: int = 0) -> dict[str, Any]:
    function = {"name": f"tide_{number}", "parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "function": function}


def call(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": "tide_0", "arguments": "{}"}, **more}


def called(number: int, **more: Any) -> dict[str, Any]:
    return chat(user(), assistant(None, tool_calls=[call(place) for place in range(number)]), **more)


def answered(number: int) -> dict[str, Any]:
    answers = [{"role": "tool", "tool_call_id": f"call_{place}", "content": "5.9 m"} for place in range(number)]
    return chat(*called(number)["messages"], *answers, assistant(), tools=[tool()])


RECORDS: dict[str, Callable[[], tuple[dict[str, Any], dict[str, int]]]] = {
    "calls": lambda: (called(MANY, tools=[tool()]), {}),
    "calls of no tool": lambda: (called(MANY // 2), {"tool-undeclared": MANY // 2}),
    "calls and answers": lambda: (answered(MANY // 2), {}),
    "messages": lambda: (chat(*[user(), assistant()] * (MANY // 2)), {}),
    "messages of one role": lambda: (chat(*[user()] * MANY, assistant()), {"user-repeated": MANY - 1}),
    "keys": lambda: (chat(**{f"key{place}": place for place in range(MANY)}), {"record-key-unknown": MANY}),
    "tools": lambda: (chat(tools=[tool(place) for place in range(MANY)]), {"example-too-long": 1}),
    "odd tools": lambda: (
        chat(tools=[{**tool(place), "source": "tides"} for place in range(MANY // 2)]),
        {},
    ),
    "tools of one name": lambda: (chat(tools=[tool()] * (MANY // 2)), {"tool-repeated": MANY // 2 - 1}),
    "parts": lambda: (
        chat(user(["Tide?"] * MANY), assistant()),
        {"part-not-an-object": MANY, "parts-and-strings": 1},
    ),
}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


def old_call(number: int) -> list[dict[str, Any]]:
    asked = {"role": "assistant", "function_call": {"name": f"tide_{number % 2}", "arguments": "{}"}}
    return [asked, {"role": "function", "name": f"tide_{number % 2}", "content": "5.9 m"}]


def nameless(record: dict[str, Any], key: str) -> dict[str, Any]:
    """Take a key out of every call and message of a record."""
    for message in record["messages"]:
        for holder in (message, *message.get("tool_calls", ())):
            holder.pop(key, None)
    return record


FEWER = 20_000
TO_MEND: dict[str, Callable[[], dict[str, Any]]] = {
    "calls without ids": lambda: nameless(called(FEWER, tools=[tool()]), "id"),
    "answers without ids": lambda: nameless(answered(FEWER), "tool_call_id"),
    "calls of one id": lambda: chat(user(), assistant(None, tool_calls=[call(1)] * FEWER), tools=[tool()]),
    "late system messages": lambda: chat(user(), *[system("Be brief.")] * FEWER, assistant()),
    "calls of the old form": lambda: chat(user(), *(m for n in range(FEWER) for m in old_call(n)), assistant()),
    "tools of one name": lambda: chat(tools=[tool()] * FEWER),
    "odd names": lambda: chat(tools=[{"type": "function", "function": {"name": f"a {n}"}} for n in range(FEWER)]),
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    return work(), time.process_time() - begun


@pytest.mark.parametrize("what", RECORDS)
def test_a_record_of_very_many_is_checked_in_seconds(tmp_path: Path, what: str) -> None:
    record, expected = RECORDS[what]()
    path = write(tmp_path / "a.jsonl", record, *GOOD)
    found, seconds = timed(lambda: report(path, providers=COLUMNS, ignore=frozenset({"key-sets-differ"})))
    assert found.counts == expected
    assert seconds < (BOUND if expected.keys() - {"example-too-long"} else CLEAN)


def test_a_walk_for_a_few_places_passes_over_all_others() -> None:
    line = json.dumps(called(MANY)).encode()
    wanted = ("messages", 1, "tool_calls", MANY - 1, "function", "name")
    found, seconds = timed(lambda: scan.places(line, {wanted}))
    assert line[found[wanted].value :].startswith(b'"tide_0"')
    assert seconds < 2


def test_a_fault_far_back_in_a_record_of_very_many_is_found() -> None:
    line = json.dumps(called(MANY)).encode().replace(b'"arguments"', b'"name"', MANY)
    (found, ended), seconds = timed(lambda: scan.faults(line))
    assert not ended
    assert [fault.code for fault in found] == ["duplicate-key"] * MANY
    assert found[-1].path == ("messages", 1, "tool_calls", MANY - 1, "function", "name")
    assert seconds < BOUND


@pytest.mark.parametrize("what", TO_MEND)
def test_a_record_of_very_many_is_mended_in_seconds(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "a.jsonl", TO_MEND[what](), *GOOD)
    found, seconds = timed(lambda: fix(path, out=tmp_path / "b.jsonl", providers=COLUMNS, agreed=ASKED))
    assert found.done
    assert found.removed == 0
    assert seconds < BOUND


def test_a_record_of_very_many_calls_is_converted_there_and_back_in_seconds(tmp_path: Path) -> None:
    path, there = write(tmp_path / "a.jsonl", answered(FEWER)), tmp_path / "there.jsonl"
    _, seconds = timed(lambda: convert(path, to="sharegpt", out=there))
    assert convert(there, out=tmp_path / "back.jsonl").written == 1
    assert json.loads((tmp_path / "back.jsonl").read_bytes())["messages"][2]["tool_call_id"] == "call_1"
    assert seconds < BOUND
