from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from anytune.data.prompt import prompt_key
from anytune.data.split import kept, split
from anytune.errors import UsageError
from tests.data.samples import assistant, chat, user, write

RECORDS = [chat(user(f"Question {i % 150}"), assistant(f"Answer {i}")) for i in range(400)]


def sides(path: Path, *, share: float = 0.2) -> tuple[list[Any], list[Any]]:
    train, validation = path.with_name("train.out"), path.with_name("validation.out")
    counts = split(path, share=share, out_train=train, out_validation=validation)
    found = tuple([json.loads(line) for line in side.read_text().splitlines()] for side in (train, validation))
    assert counts == (len(found[0]), len(found[1]))
    return found[0], found[1]


def prompts(records: list[Any]) -> set[str]:
    return {record["messages"][0]["content"] for record in records}


def test_no_prompt_stands_on_both_sides_and_no_example_is_lost(tmp_path: Path) -> None:
    train, validation = sides(write(tmp_path / "a.jsonl", *RECORDS))
    assert not prompts(train) & prompts(validation)
    assert sorted(map(json.dumps, train + validation)) == sorted(map(json.dumps, RECORDS))
    assert 40 < len(validation) < 120


def test_order_does_not_move_an_example(tmp_path: Path) -> None:
    first = sides(write(tmp_path / "a.jsonl", *RECORDS))
    mixed = RECORDS.copy()
    random.Random(1).shuffle(mixed)
    assert prompts(sides(write(tmp_path / "b.jsonl", *mixed))[1]) == prompts(first[1])


def test_more_examples_do_not_move_the_old_ones(tmp_path: Path) -> None:
    before = sides(write(tmp_path / "a.jsonl", *RECORDS))[1]
    more = [chat(user(f"Another {i}"), assistant()) for i in range(300)]
    after = sides(write(tmp_path / "b.jsonl", *RECORDS, *more))[1]
    assert after[: len(before)] == before


def test_a_larger_share_only_adds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    assert prompts(sides(path, share=0.1)[1]) < prompts(sides(path, share=0.3)[1])


@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_neither_side_stays_empty(tmp_path: Path, share: float) -> None:
    train, validation = sides(write(tmp_path / "a.jsonl", *RECORDS[:5]), share=share)
    assert train
    assert validation


def test_one_prompt_cannot_be_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *(chat(user("Same"), assistant(str(i))) for i in range(9)))
    with pytest.raises(UsageError, match="fewer than two"):
        sides(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_lies_between_none_and_all(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        sides(write(tmp_path / "a.jsonl", *RECORDS), share=share)


def test_a_missing_file_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        sides(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="No such file"):
        kept(tmp_path / "none.jsonl", share=0.1, folder=tmp_path)


def test_a_file_is_not_split_onto_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    with pytest.raises(UsageError, match="three names"):
        split(path, share=0.1, out_train=path, out_validation=tmp_path / "b.jsonl")


def test_case_space_system_and_answer_do_not_make_another_prompt() -> None:
    plain = prompt_key(json.dumps(chat(user("Tide at Brest?"), assistant("a"))).encode())
    other = chat({"role": "system", "content": "Be brief."}, user(" tide  at\nBREST? "), assistant("b"))
    assert prompt_key(json.dumps(other).encode()) == plain
    pair = {"input": {"messages": [user("Tide at Brest?")]}, "preferred_output": [assistant("c")]}
    assert prompt_key(json.dumps(pair).encode()) == plain


def test_what_was_asked_before_makes_another_prompt() -> None:
    short = chat(user("And now?"), assistant())
    long = chat(user("Tide?"), assistant(), user("And now?"), assistant())
    assert prompt_key(json.dumps(short).encode()) != prompt_key(json.dumps(long).encode())


def test_a_kept_split_is_made_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    first = kept(path, share=0.2, folder=tmp_path / "splits")
    stamps = [side.stat().st_mtime_ns for side in first]
    assert kept(path, share=0.2, folder=tmp_path / "splits") == first
    assert [side.stat().st_mtime_ns for side in first] == stamps
    write(path, *RECORDS, chat(user("New"), assistant()))
    assert kept(path, share=0.2, folder=tmp_path / "splits") != first


def test_broken_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS, b"{broken", b"", b"[1]")
    split(path, share=0.2, out_train=tmp_path / "t", out_validation=tmp_path / "v")
    both = (tmp_path / "t").read_bytes() + (tmp_path / "v").read_bytes()
    assert b"{broken\n" in both
    assert b"[1]\n" in both
    assert b"\n\n" not in both
