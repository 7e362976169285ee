from __future__ import annotations

import json
import os
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anytune.data.dedupe import Kind, dedupe
from anytune.data.leak import Leak, leaks
from anytune.data.split import divide, split
from anytune.errors import RefusedError, UsageError
from tests.amount import examples
from tests.data.samples import assistant, chat, user, write
from tests.data.test_near import changed, text

CHANCE = random.Random(1)
QUESTIONS = [text(CHANCE, 12) for _ in range(300)]
TRAIN = [chat(user(question), assistant(text(CHANCE, 60))) for question in QUESTIONS[:200]]
HELD_OUT = [chat(user(question), assistant(text(CHANCE, 60))) for question in QUESTIONS[200:]]


def found(tmp_path: Path, train: list[Any], held_out: list[Any], *, near: bool = False) -> list[Leak]:
    paths = write(tmp_path / "train.jsonl", *train), write(tmp_path / "test.jsonl", *held_out)
    return list(leaks(*paths, near=near))


def reordered(record: dict[str, Any]) -> bytes:
    """Write a record with its keys turned round, more white space and escapes."""
    turned = {key: record[key] for key in reversed(record)}
    turned["messages"] = [{key: one[key] for key in reversed(one)} for one in record["messages"]]
    return (
        json.dumps(turned, separators=(" , ", " :  "))
        .encode()
        .replace(b"e", b"\\u0065", 1)
        .replace(b"m\\u0065ssages", b"messages")
    )


def test_files_that_share_nothing_have_no_leak(tmp_path: Path) -> None:
    assert found(tmp_path, TRAIN, HELD_OUT, near=True) == []


def test_an_exact_leak_is_found_whatever_its_spelling(tmp_path: Path) -> None:
    train = [*TRAIN, reordered(HELD_OUT[30])]
    (leak,) = found(tmp_path, train, HELD_OUT)
    assert leak[:2] == ("exact", 201)
    assert leak.other_line == 31
    assert (tmp_path / "train.jsonl").read_bytes()[leak.offset :].startswith(train[-1])


def test_a_prompt_leaks_with_another_answer_case_and_system_message(tmp_path: Path) -> None:
    question = QUESTIONS[250]
    asked = [
        chat(user(question.upper()), assistant("Another")),
        chat({"role": "system", "content": "Be brief."}, user(f" {question}\n"), assistant("Another")),
        {"input": {"messages": [user(question)]}, "preferred_output": [assistant("x")], "non_preferred_output": []},
        {"prompt": question, "completion": "Another"},
        {"messages": [user(question)], "answer": 5},
    ]
    assert [leak[:2] for leak in found(tmp_path, [*asked, *TRAIN], HELD_OUT)] == [("prompt", i) for i in range(1, 6)]
    assert {leak.other_line for leak in found(tmp_path, asked, HELD_OUT)} == {51}


def longer(question: str, *more: dict[str, Any]) -> dict[str, Any]:
    return chat(user(question), assistant("Which year?"), *more)


def test_a_question_leaks_through_a_turn_of_a_longer_chat_in_either_file(tmp_path: Path) -> None:
    more = user("This year."), assistant("At 06:12.")
    long, short = longer(f" {QUESTIONS[250]}".upper(), *more), chat(user(QUESTIONS[7]), assistant("At 06:12."))
    (leak,) = found(tmp_path, [*TRAIN, long], HELD_OUT)
    assert (leak.kind, leak.line, leak.other_line, leak.similarity) == ("turn", 201, 51, 1.0)
    held_out = [*HELD_OUT, chat({"role": "system", "content": "Be brief."}, *longer(QUESTIONS[7], *more)["messages"])]
    (leak,) = found(tmp_path, [*TRAIN[:7], short], held_out)
    assert (leak.kind, leak.line, leak.other_line) == ("turn", 8, 101)


def test_a_turn_is_what_is_asked_before_an_answer_with_all_that_was_said_before(tmp_path: Path) -> None:
    two, three = (longer("Tide?", *[user("Today."), assistant("At 06:12.")] * turns) for turns in (1, 2))
    call = assistant(None, tool_calls=[{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
    asked = chat(user("Tide?"), call, {"role": "tool", "tool_call_id": "a", "content": "5.9"}, assistant("5.9 m"))
    kinds = [leak.kind for leak in found(tmp_path, [two, asked, chat(user("Today."), assistant())], [three])]
    assert kinds == ["turn"]
    assert [leak.kind for leak in found(tmp_path, [asked, chat(user("Tide?"))], [chat(user("Tide?"), call)])] == [
        "turn",
        "prompt",
    ]


@pytest.mark.parametrize(
    "other",
    [
        longer("And today?", user("Tide at Brest?"), assistant("At 06:12.")),
        chat(user("Tide at Brest?"), user("And now?"), assistant("At 06:12.")),
        chat(assistant("Tide at Brest?"), user("Yes."), assistant("At 06:12.")),
        chat(assistant("Hello!"), assistant("How can I help?"), user("Say it."), assistant("At 06:12.")),
    ],
    ids=["asked later", "nothing is answered between", "a greeting", "two greetings"],
)
def test_what_was_not_asked_alike_from_the_start_is_no_leak_of_a_turn(tmp_path: Path, other: dict[str, Any]) -> None:
    held_out = [chat(user("Tide at Brest?"), assistant("5.9 m")), chat(assistant("Hello!"), assistant("Ask me."))]
    assert found(tmp_path, [other], held_out) == []
    assert found(tmp_path, held_out, [other]) == []


def test_a_near_leak_is_found_with_its_similarity(tmp_path: Path) -> None:
    chance = random.Random(3)
    answer = HELD_OUT[9]["messages"][1]["content"]
    near = chat(user(changed(chance, QUESTIONS[209], times=1)), assistant(answer))
    assert found(tmp_path, [*TRAIN, near], HELD_OUT) == []
    (leak,) = found(tmp_path, [*TRAIN, near], HELD_OUT, near=True)
    assert (leak.kind, leak.line, leak.other_line) == ("near", 201, 10)
    assert 0.8 <= leak.similarity < 1


def test_a_record_leaks_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    near = chat(user(QUESTIONS[201] + " please"), *HELD_OUT[1]["messages"][1:])
    prompt = chat(user(QUESTIONS[202]), assistant("Another"))
    train = [near, HELD_OUT[0], *TRAIN, prompt, HELD_OUT[0]]
    kinds = [(leak.kind, leak.line) for leak in found(tmp_path, train, HELD_OUT, near=True)]
    assert kinds == [("near", 1), ("exact", 2), ("prompt", 203), ("exact", 204)]


def test_line_ends_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    train, held_out = write(tmp_path / "a", *TRAIN, HELD_OUT[5]), write(tmp_path / "b", *HELD_OUT)
    plain = [(leak.kind, leak.other_line) for leak in leaks(train, held_out, near=True)]
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n\r\n").removesuffix(b"\r\n\r\n"))
    (leak,) = leaks(train, held_out, near=True)
    assert [(leak.kind, leak.other_line)] == plain == [("exact", 6)]
    assert leak.line == 401
    with train.open("rb") as stream:
        stream.seek(leak.offset)
        assert json.loads(stream.readline()) == HELD_OUT[5]


def test_a_file_leaks_whole_into_itself(tmp_path: Path) -> None:
    mixed = [*TRAIN, {"text": "Tide tables"}, {"instruction": "Add", "output": "5"}, b"{broken", b"[1]", b'"x"']
    found_ones = found(tmp_path, mixed, mixed, near=True)
    assert [(leak.kind, leak.line, leak.other_line) for leak in found_ones] == [
        ("exact", line, line) for line in range(1, len(mixed) + 1)
    ]


ROLES = ("user", "assistant", "tool", "system")
TEXTS = st.text("ab \n\u00e9Σσς\u00a0", max_size=8)
CHATS = st.builds(lambda a, b, c: chat(user(a), assistant(b), user(c), assistant()), TEXTS, TEXTS, TEXTS)


TURNS = st.lists(st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(ROLES), TEXTS))
ASKED = CHATS | st.builds(lambda turns: chat(*turns, assistant()), TURNS)


def folded(messages: list[dict[str, Any]]) -> list[str]:
    told = " ".join(f"{m['role']}: {m['content']}" for m in messages if m["role"] != "system")
    return told.lower().split()


def within(record: dict[str, Any]) -> list[list[str]]:
    """Return what was asked before each answer but the last."""
    messages = record["messages"]
    answers = [place for place, one in enumerate(messages[:-1]) if one["role"] == "assistant"]
    before = [[one for one in messages[:place] if one["role"] != "system"] for place in answers]
    return [folded(each) for each in before if any(one["role"] != "assistant" for one in each)]


@given(st.lists(ASKED, min_size=1, max_size=6), st.lists(ASKED, min_size=1, max_size=6))
@settings(max_examples=examples(200), deadline=None)
def test_a_leak_is_an_equal_prompt_or_turn_and_nothing_else(train: list[Any], held_out: list[Any]) -> None:
    known = [folded(record["messages"][:-1]) for record in held_out]
    turns = [turn for record in held_out for turn in within(record)]
    expected = {}
    for line, record in enumerate(train, 1):
        whole = folded(record["messages"][:-1])
        if record in held_out:
            expected[line] = "exact"
        elif whole and whole in known:
            expected[line] = "prompt"
        elif whole in turns or any(turn in known for turn in within(record)):
            expected[line] = "turn"
    with tempfile.TemporaryDirectory() as folder:
        assert {leak.line: leak.kind for leak in found(Path(folder), train, held_out)} == expected


@given(st.lists(ASKED, min_size=2, max_size=12))
@settings(max_examples=examples(100), deadline=None)
def test_nothing_leaks_across_a_split_by_the_first_turn(records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", *records)
        into = {side: Path(folder) / side for side in ("train", "validation")}
        with suppress(UsageError):  # all begin alike
            divide(path, into=into, validation=0.5, by="first-turn")
            assert list(leaks(into["train"], into["validation"])) == []


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    here = write(tmp_path / "a.jsonl", *TRAIN)
    for paths in ((here, tmp_path / "none"), (tmp_path / "none", here), (here, tmp_path)):
        with pytest.raises(RefusedError):
            list(leaks(*paths))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "q", "user", "assistant", "system"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "messages", "tool_calls", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("role", "content", "tool_calls"), VALUES)), max_size=3
)
KEYS = ("messages", "input", "prompt", "completion", "text", "preferred_output", "non_preferred_output")
RECORDS = VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, MESSAGES | VALUES))


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8))
@example([{"messages": [{"role": ["user"], "content": "q"}]}])
@example([{"messages": [{"role": {"a": 1}, "content": "q"}, {"role": "assistant", "content": "a"}]}])
def test_no_record_crashes_what_compares_records(records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.jsonl", *records, chat(user("x"), assistant("y")), chat(user("z")))
        for kind in get_args(Kind):
            dedupe(path, Path(folder) / "out.jsonl", kind=kind, force=True)
        out_train, out_validation = Path(folder) / "train.jsonl", Path(folder) / "validation.jsonl"
        split(path, share=0.5, out_train=out_train, out_validation=out_validation)
        list(leaks(out_train, out_validation, near=True))
        assert len(list(leaks(path, path))) == len(records) + 2


@pytest.mark.parametrize("depth", [100, 900])
def test_a_deep_record_crashes_nothing(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"messages":[{"role":"user","content":' + "[" * depth + "]" * depth + "}]}\n")
    assert len(list(leaks(path, path, near=True))) == 1


@pytest.mark.parametrize("side", [0, 1])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path, side: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = write(tmp_path / "a.jsonl", chat(user("x"), assistant("y")))
    sides = [path, path]
    sides[side] = tmp_path / "pipe"
    with pytest.raises(RefusedError, match="not a regular file"):
        list(leaks(sides[0], sides[1]))
    with pytest.raises(RefusedError, match="not a regular file"):
        dedupe(tmp_path / "pipe", tmp_path / "out.jsonl")
    with pytest.raises(RefusedError, match="not a regular file"):
        split(tmp_path / "pipe", share=0.5, out_train=tmp_path / "t", out_validation=tmp_path / "v")
    with pytest.raises(RefusedError, match="there is no such file") as caught:
        dedupe(tmp_path / "missing", tmp_path / "out.jsonl")
    assert caught.value.fix == "mend the path"
