from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from anytune.data.check.rules.base import DataMethod
from tests.data.samples import assistant, chat, report, user, write

PORTS = ("Brest", "Lorient", "Vannes", "Royan", "Calais", "Dieppe", "Honfleur", "Roscoff", "Paimpol", "Granville")
SYSTEM = {"role": "system", "content": "Answer in one line."}
CHATS = [chat(user(f"When is high water at {port}?"), assistant(f"See the table of {port}.")) for port in PORTS]
DAYS = [chat(user(f"Tide on day {day}?"), assistant("5.9 m")) for day in range(100, 250)]
ROYAN = "When is high water at Royan?"


def pair(asked: str = ROYAN, better: str = "At 06:12.", worse: str = "No idea.") -> dict[str, Any]:
    return {
        "input": chat(user(asked)),
        "preferred_output": [assistant(better)],
        "non_preferred_output": [assistant(worse)],
    }


PAIRS = [pair(f"When is high water at {port}?") for port in PORTS]
TOOL = {"type": "function", "function": {"name": "get_tide", "parameters": {"type": "object", "properties": {}}}}


def told(path: Path, **terms: Any) -> list[tuple[str, int | None, str]]:
    """Return code, line and message of each issue."""
    found = report(path, **terms)
    return [(issue.code, issue.line, issue.message) for issue in (*found.errors, *found.warnings)]


def codes(path: Path, *records: Any, method: DataMethod = "sft") -> dict[str, int]:
    return report(write(path, *records), method=method).counts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.jsonl"


def test_each_copy_points_to_the_first_line(path: Path) -> None:
    write(path, *CHATS, CHATS[3], CHATS[3], CHATS[0])
    assert told(path) == [
        ("duplicate-record", 11, "the same record stands on line 4"),
        ("duplicate-record", 12, "the same record stands on line 4"),
        ("duplicate-record", 13, "the same record stands on line 1"),
    ]


def test_a_copy_is_found_whatever_else_is_wrong_with_it(path: Path) -> None:
    odd = [
        chat(user()),
        chat(user("One?"), assistant(7)),
        chat(user("Two?"), {"role": "assistant"}, id=1),
        chat({"role": "human", "content": "Three?"}),
        chat(user([{"type": "text", "text": "Four?"}]), assistant([{"type": "text", "text": "!"}])),
        {"prompt": "Five?", "completion": "!"},
        {"text": "Six."},
        pair("Seven?"),
    ]
    assert codes(path, *CHATS, *odd, *odd)["duplicate-record"] == len(odd)


def test_a_copy_without_a_line_feed_at_the_end_of_the_file_is_found(path: Path) -> None:
    write(path, *CHATS, CHATS[3])
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert told(path) == [("duplicate-record", 11, "the same record stands on line 4")]


@pytest.mark.parametrize(
    "other",
    [
        chat(user("when is HIGH water at Royan?"), assistant("SEE the table of royan.")),
        chat(user("When  is high\nwater at Royan? "), assistant("See the table\tof Royan.")),
        chat(user("When is high water at\u00a0Royan?"), assistant("See the table of Royan.")),
        json.dumps(CHATS[3], separators=(" , ", " :\t")).encode(),
        json.dumps(CHATS[3]).replace("Royan", "Ro\\u0079an").encode(),
        b'{"messages": [{"content": "When is high water at Royan?", "role": "user"}, '
        b'{"content": "See the table of Royan.", "role": "assistant"}]}',
    ],
    ids=["case", "white space", "no-break space", "white space of the JSON", "an escape", "order of the keys"],
)
def test_the_same_record_in_another_spelling_is_found(path: Path, other: Any) -> None:
    write(path, *CHATS, other)
    assert told(path) == [("duplicate-normalised", 11, "the same record but for case and white space stands on line 4")]


@pytest.mark.parametrize(
    "other",
    [
        chat(user("When is high water at Royan"), assistant("See the table of Royan.")),
        chat(user(ROYAN.replace("Royan", "Sein")), assistant("See the table of Royan.")),
        chat(SYSTEM, *CHATS[3]["messages"]),
        chat(*CHATS[3]["messages"], user("And at Vannes?"), assistant("See the table of Royan.")),
        chat(user(ROYAN), user("Hello?"), assistant("See the table of Royan.")),
    ],
    ids=["a sign less", "another port", "a system prompt", "more turns", "another question after it"],
)
def test_what_differs_in_a_sign_is_another_record(path: Path, other: Any) -> None:
    assert codes(path, *CHATS, other).keys() <= {"user-repeated"}


def test_words_that_only_a_space_parts_are_others(path: Path) -> None:
    apart = [chat(user(f"Who is {who}?"), assistant("Ask the tower.")) for who in ("the rapist", "therapist")]
    assert codes(path, *CHATS, *apart) == {}
    others = [chat(user(f"Who is {who}?"), assistant(who)) for who in ("now here", "nowhere")]
    assert codes(path, *CHATS, *others) == {}


def test_made_up_ids_make_no_other_record_but_weights_do(path: Path) -> None:
    def asked(name: str, **more: Any) -> dict[str, Any]:
        call = {"id": name, "type": "function", "function": {"name": "get_tide", "arguments": "{}"}}
        answer = {"role": "tool", "tool_call_id": name, "content": "5.9"}
        return chat(user(), assistant(None, tool_calls=[call]), answer, assistant(**more), tools=[TOOL])

    assert codes(path, *[asked(f"call_{n}") for n in range(10)]) == {"duplicate-normalised": 9}
    assert codes(path, *CHATS, asked("a", weight=1), asked("b", weight=0)) == {"key-sets-differ": 1}
    named = codes(path, *[{**CHATS[0], "id": n} for n in range(10)])
    assert named == {"duplicate-normalised": 9, "record-key-unknown": 10}


def test_long_prompts_that_differ_in_the_middle_alone_are_not_the_same(path: Path) -> None:
    asked = [chat(user(f"{'a' * 500} {n} {'z' * 500}"), assistant("5.9 m")) for n in range(20)]
    assert codes(path, *asked) == {}


def test_another_answer_to_the_same_prompt_points_to_the_first_line(path: Path) -> None:
    write(path, *CHATS, chat(user(ROYAN.upper()), assistant("No idea.")), chat(user(ROYAN), assistant("At 06:12.")))
    assert told(path) == [
        ("answers-differ", 11, "the same prompt has another answer on line 4"),
        ("answers-differ", 12, "the same prompt has another answer on line 4"),
    ]


def test_another_system_prompt_or_other_tools_may_ask_for_another_answer(path: Path) -> None:
    other = assistant("No idea.")
    assert codes(path, *CHATS, chat(SYSTEM, user(ROYAN), other)) == {}
    found = codes(path, *CHATS, chat(user(ROYAN), other, tools=[TOOL]))
    assert "answers-differ" not in found


def test_the_same_system_prompt_with_another_answer_is_told(path: Path) -> None:
    first, second = (chat(SYSTEM, user(ROYAN), assistant(said)) for said in ("At 06:12.", "No idea."))
    assert codes(path, *CHATS, first, second) == {"answers-differ": 1}


def test_the_answer_is_what_comes_last_and_all_before_is_the_prompt(path: Path) -> None:
    talk = [user("Hello"), assistant("Hello"), user(ROYAN)]
    same = [chat(*talk, assistant("At 06:12.")), chat(*talk, assistant("No idea."))]
    assert codes(path, *CHATS, *same) == {"answers-differ": 1}
    other = [chat(user("Hello"), assistant(said), user(ROYAN), assistant(said)) for said in ("Hello", "Good day")]
    assert codes(path, *CHATS, *other) == {}


def test_a_call_is_an_answer_too(path: Path) -> None:
    def asked(port: str) -> dict[str, Any]:
        function = {"name": "get_tide", "arguments": json.dumps({"port": port})}
        call = {"id": "call_1", "type": "function", "function": function}
        return chat(user("High water?"), {"role": "assistant", "tool_calls": [call]}, tools=[TOOL])

    assert codes(path, *[asked(port) for port in ("Brest", "Royan", "Brest")] * 4) == {
        "answers-differ": 1,
        "duplicate-record": 10,
    }


def test_completions_are_compared_like_chats(path: Path) -> None:
    records = [{"prompt": f"{port}?", "completion": "5.9 m"} for port in PORTS]
    others = [{"prompt": "Royan?", "completion": "6.1 m"}, {"completion": "5.9 m", "prompt": "royan?"}]
    found = codes(path, *records, *others)
    assert {code: found[code] for code in ("answers-differ", "duplicate-normalised")} == {
        "answers-differ": 1,
        "duplicate-normalised": 1,
    }


def test_texts_have_no_answers_that_could_differ(path: Path) -> None:
    texts = [{"text": f"The tide of {port} is high."} for port in PORTS]
    found = report(write(path, *texts, {"text": "the tide of BREST is high."}), providers=("together",))
    assert found.counts == {"duplicate-normalised": 1}


def test_a_pair_turned_round_contradicts(path: Path) -> None:
    write(path, *PAIRS, pair(better="no idea.", worse="At 06:12."))
    assert told(path, method="dpo") == [
        ("preferences-contradict", 11, "line 4 prefers the other of the same two answers")
    ]


def test_two_pairs_of_one_prompt_may_prefer_what_they_like(path: Path) -> None:
    others = [pair(better="At 06:12.", worse="Ask later."), pair(better="At 6.", worse="At 06:12.")]
    assert codes(path, *PAIRS, *others, method="dpo") == {}
    assert codes(path, *PAIRS, pair("When is low water?", "No idea.", "At 06:12."), method="dpo") == {}


def test_copies_of_pairs_are_found(path: Path) -> None:
    found = codes(path, *PAIRS, PAIRS[2], pair(ROYAN.lower()), method="dpo")
    assert found == {"duplicate-normalised": 1, "duplicate-record": 1}


def test_tasks_for_reinforcement_have_no_answers_that_could_differ(path: Path) -> None:
    tasks = [{**chat(user(f"Tide at {port}?")), "height": 5.9} for port in PORTS]
    others = [{**chat(user("Tide at Royan?")), "height": 6.1}, {**chat(user("tide at Royan?")), "height": 5.9}]
    assert codes(path, *tasks, *others, method="rft") == {"duplicate-normalised": 1}


def test_a_record_far_from_all_others_in_length_is_an_outlier(path: Path) -> None:
    write(path, *DAYS, chat(user("?"), assistant("5.9 m, " * 1000)), DAYS[0])
    assert [(code, line) for code, line, _ in told(path)] == [("length-outlier", 151), ("duplicate-record", 152)]


@pytest.mark.parametrize("others", [90, 98])
def test_few_records_have_no_outliers(path: Path, others: int) -> None:
    assert codes(path, *DAYS[:others], chat(user("?"), assistant("5.9 m, " * 1000))) == {}


@pytest.mark.parametrize("other", [b"", b"{", b"[]"])
def test_lines_without_a_record_are_no_measure_of_length(path: Path, other: bytes) -> None:
    lines = [line for day in DAYS for line in (day, other)]
    assert "length-outlier" not in codes(path, *lines)
    assert "length-outlier" not in codes(path, *lines[:120], chat(user("?"), assistant("5.9 m, " * 1000)))


def test_records_of_many_lengths_have_no_outliers(path: Path) -> None:
    even = random.Random(1)
    found = codes(
        path, *(chat(user(f"{n}?"), assistant("5.9 m, " * int(10 ** even.uniform(0, 3)))) for n in range(300))
    )
    assert found == {}
