from __future__ import annotations

import hashlib
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytune.data.prompt import first_turn_key, folded, prompt_key
from anytune.data.split import divide, kept, split
from anytune.errors import RefusedError, UsageError
from tests.amount import examples
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
    with pytest.raises(UsageError, match="fewer than 2"):
        sides(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_lies_between_none_and_all(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        sides(write(tmp_path / "a.jsonl", *RECORDS), share=share)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="there is no such file"):
        sides(tmp_path / "none.jsonl")
    with pytest.raises(RefusedError, match="there is no such file"):
        kept(tmp_path / "none.jsonl", share=0.1, folder=tmp_path)


def test_a_file_is_not_split_onto_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    with pytest.raises(UsageError, match="different names"):
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


def parts(path: Path, **terms: Any) -> dict[str, list[Any]]:
    """Divide a file and return the records of each side."""
    names = ["train", *(name for name in ("validation", "test") if name in terms)]
    into = {name: path.with_name(f"{name}.new") for name in names}
    made = divide(path, into=into, force=True, **terms)
    found = {side.name: [json.loads(line) for line in side.path.read_bytes().split(b"\n")[:-1]] for side in made.sides}
    assert [len(found[side.name]) for side in made.sides] == [side.examples for side in made.sides]
    assert list(found) == names
    return found


def customers(*, of: int = 60) -> list[Any]:
    return [
        chat(user(f"Question {i}"), assistant(f"Answer {i}"), metadata={"customer": f"c{i * i % of}", "n": i})
        for i in range(300)
    ]


def test_the_sides_of_the_first_release_hold(tmp_path: Path) -> None:
    sides(write(tmp_path / "a.jsonl", *RECORDS))
    found = hashlib.sha256((tmp_path / "validation.out").read_bytes()).hexdigest()
    assert found.startswith("18e0b0df8a9ea074")


def test_three_sides_share_no_prompt_and_lose_no_example(tmp_path: Path) -> None:
    found = parts(write(tmp_path / "a.jsonl", *RECORDS), validation=0.2, test=0.2)
    train, validation, test = (prompts(side) for side in found.values())
    assert not train & validation | train & test | validation & test
    assert sorted(json.dumps(r) for side in found.values() for r in side) == sorted(map(json.dumps, RECORDS))
    assert all(40 < len(found[name]) < 120 for name in ("validation", "test"))


def test_one_held_out_side_is_resized_without_the_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    assert parts(path, validation=0.1, test=0.2)["test"] == parts(path, validation=0.4, test=0.2)["test"]
    assert parts(path, validation=0.1)["validation"] == parts(path, validation=0.1, test=50)["validation"]


@pytest.mark.parametrize(
    "sizes", [{"validation": 37}, {"test": 37}, {"validation": 50, "test": 61}, {"validation": 399}]
)
def test_a_number_of_examples_is_met_exactly(tmp_path: Path, sizes: dict[str, int]) -> None:
    records = [chat(user(f"Question {i % 390}"), assistant(f"Answer {i}")) for i in range(400)]
    found = parts(write(tmp_path / "a.jsonl", *records), **sizes)
    assert {name: len(found[name]) for name in sizes} == sizes
    assert len({p for side in found.values() for p in prompts(side)}) == sum(len(prompts(s)) for s in found.values())


def test_a_number_that_cannot_be_met_is_not_exceeded(tmp_path: Path) -> None:
    records = [chat(user(f"Question {i % 20}"), assistant(f"Answer {i}")) for i in range(60)]
    path = write(tmp_path / "a.jsonl", *records)
    assert len(parts(path, validation=10)["validation"]) == 9
    with pytest.raises(UsageError, match="so few as 2"):
        parts(path, validation=2)
    with pytest.raises(UsageError, match="nothing to train on"):
        parts(path, validation=60)


@given(st.lists(st.integers(0, 12), min_size=14, max_size=40), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=examples(40), deadline=None)
def test_numbers_and_shares_do_not_hang_on_the_order(numbers: list[int], many: int, chance: random.Random) -> None:
    records = [
        chat(user(f"Question {n}"), assistant(f"Answer {i}")) for i, n in enumerate([*numbers, *range(100, 113)])
    ]
    mixed = chance.sample(records, len(records))
    with tempfile.TemporaryDirectory() as folder:
        for size in (many, many / 10):
            one, other = (
                parts(write(Path(folder) / "a", *some), validation=size, test=0.01) for some in (records, mixed)
            )
            for name in one:
                assert sorted(map(json.dumps, one[name])) == sorted(map(json.dumps, other[name]))
                assert one[name]
            assert not prompts(one["train"]) & (prompts(one["validation"]) | prompts(one["test"]))


def conversations() -> list[Any]:
    """Return chats of one, two and three turns, many of which begin alike."""
    more = [user("And then?"), assistant("Again.")]
    return [
        chat({"role": "system", "content": f"Be {n}."}, user(f"Question {n % 40}"), assistant(), *more * (n % 3))
        for n in range(200)
    ]


def test_chats_that_begin_alike_stay_together_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *conversations())
    for by, shared in (("prompt", True), ("first-turn", False)):
        first, second = (
            {record["messages"][1]["content"] for record in side}
            for side in parts(path, validation=0.3, by=by).values()
        )
        assert bool(first & second) is shared
    alone = [record for record in conversations() if len(record["messages"]) == 3]
    path = write(tmp_path / "b.jsonl", *alone)
    assert parts(path, validation=0.3, by="first-turn") == parts(path, validation=0.3)


def test_a_greeting_is_no_first_turn() -> None:
    def key(*messages: dict[str, Any]) -> bytes:
        return first_turn_key(json.dumps(chat(assistant("Hello!"), *messages)).encode())

    assert key(user("Tide?"), assistant()) == key(user("TIDE?"), assistant("a"), user("And now?"), assistant())
    assert key(user("Tide?"), assistant()) != key(user("Wind?"), assistant())
    assert first_turn_key(b'{"instruction": "Add"}') == b'{"instruction": "Add"}'


def test_a_split_goes_by_one_thing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *customers())
    with pytest.raises(UsageError, match="not by both"):
        parts(path, validation=0.3, by="first-turn", group="metadata")
    with pytest.raises(UsageError, match="fewer than 2 different first turns"):
        parts(write(path, *[conversations()[0]] * 9), validation=0.3, by="first-turn")


@pytest.mark.parametrize(
    ("group", "of"),
    [("$.metadata.customer", lambda r: r["metadata"]["customer"]), ("metadata", lambda r: json.dumps(r["metadata"]))],
)
def test_a_group_stays_together(tmp_path: Path, group: str, of: Any) -> None:
    found = parts(write(tmp_path / "a.jsonl", *customers()), validation=0.3, group=group)
    first, second = ({of(record) for record in side} for side in found.values())
    assert first
    assert second
    assert not first & second


def test_a_group_is_kept_in_the_lines_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *customers())
    for side in parts(path, validation=0.3, group="$.metadata.customer").values():
        assert all("customer" in record["metadata"] for record in side)
    for side in parts(path, validation=0.3, group="$.metadata.customer", drop_group=True).values():
        assert all(record["metadata"].keys() == {"n"} for record in side)
    for side in parts(path, validation=0.3, group="metadata", drop_group=True).values():
        assert all(record.keys() == {"messages"} for record in side)


def test_a_holder_that_held_the_group_alone_goes_with_it(tmp_path: Path) -> None:
    records = [chat(user(str(i)), assistant(), metadata={"customer": i}) for i in range(20)]
    found = parts(write(tmp_path / "a.jsonl", *records), test=5, group="$['metadata'].customer", drop_group=True)
    assert all(record.keys() == {"messages"} for side in found.values() for record in side)


def test_a_record_without_the_group_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *customers(), b"", chat())
    with pytest.raises(UsageError, match=r"a\.jsonl:302: the record has no \$\.metadata\.customer"):
        parts(path, validation=0.1, group="$.metadata.customer")
    with pytest.raises(UsageError, match="no path"):
        parts(path, validation=0.1, group="$metadata.customer")
    with pytest.raises(UsageError, match=r"no metadata\.customer") as error:
        parts(path, validation=0.1, group="metadata.customer")
    assert "$.metadata.customer" in str(error.value.fix)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sizes", [{"validation": 0}, {"test": -1}, {"validation": 0.5, "test": 0.5}, {}])
def test_sizes_that_leave_nothing_are_refused(tmp_path: Path, sizes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parts(write(tmp_path / "a.jsonl", *RECORDS), **sizes)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    into = {"train": tmp_path / "t", "validation": write(tmp_path / "v", chat())}
    with pytest.raises(UsageError, match="exists"):
        divide(path, into=into, validation=0.1)
    assert not into["train"].exists()
    assert divide(path, into=into, validation=0.1, force=True).sides[0].examples > 300


def test_line_ends_and_a_byte_order_mark_move_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *RECORDS)
    plain = parts(path, validation=0.2, test=30)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert parts(path, validation=0.2, test=30) == plain


def test_every_shape_of_a_record_has_its_prompt() -> None:
    def key(record: Any) -> bytes:
        return prompt_key(json.dumps(record).encode())

    plain = key(chat(user("Tide?"), assistant()))
    pair = {"preferred_output": [assistant("a")], "non_preferred_output": [assistant("b")]}
    for same in (
        {"messages": [user("Tide?")], "reference": 5, "input": "x"},
        {"prompt": " TIDE? ", "completion": "5.9 m"},
        {"prompt": [user("tide?")], "completion": [assistant()]},
        {"input": {"messages": [user("Tide?")], "tools": []}, **pair},
        {"input": {"messages": [user("Tide?")]}, "messages": [user("Else")], **pair},
    ):
        assert key(same) == plain
    assert key({"text": "Tide  Tables"}) == key({"text": "tide tables\n"}) != plain
    assert key({"prompt": "", "completion": "a"}) != key({"prompt": "", "completion": "b"})


def test_what_a_user_says_last_is_asked() -> None:
    first, second = ([user("A"), assistant("B"), user(last)] for last in ("C", "D"))
    assert prompt_key(json.dumps({"messages": first}).encode()) != prompt_key(json.dumps({"messages": second}).encode())


def test_a_tool_call_is_part_of_the_prompt() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}
    other = {**call, "function": {"name": "wind", "arguments": "{}"}}
    one, two = (
        chat(
            user(), assistant(None, tool_calls=[c]), {"role": "tool", "tool_call_id": "1", "content": "5"}, assistant()
        )
        for c in (call, other)
    )
    assert prompt_key(json.dumps(one).encode()) != prompt_key(json.dumps(two).encode())
    again = json.loads(json.dumps(one).replace('"1"', '"call_Zk3"'))
    assert prompt_key(json.dumps(again).encode()) == prompt_key(json.dumps(one).encode())


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("Σσ \t\n\x1c\x85\u00a0\u2028\u3000İ")))
def test_the_quick_way_to_fold_a_text_is_the_plain_one(text: str) -> None:
    assert folded(text) == " ".join(text.lower().split()).encode()
