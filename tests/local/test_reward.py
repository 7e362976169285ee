"""What an answer is worth: each type of reward says what it promises, and a broken one is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from anytune.config import load_job
from anytune.errors import UsageError
from anytune.local.training.reward import Given, Rewards
from anytune.schema.reward import ELSEWHERE, Reward

SHOP = "create table wares (name text, price int); insert into wares values ('rope', 3), ('sail', 40);"
SCHEMA = '{"type": "object", "required": ["port"], "properties": {"port": {"type": "string"}}}'
WANTED = {"reference": "{{ item.answer }}", "input": "{{ sample.output_text }}"}
ITEM = {"answer": "Oslo", "sql": "select name from wares where price > 10", "deep": {"list": ["a", {"b": 7}]}}


def rewards(*asked: dict[str, Any]) -> Rewards:
    return Rewards([Reward.model_validate(one).model_dump(mode="json", exclude_none=True) for one in asked])


def worth(asked: dict[str, Any], answer: str) -> float:
    return rewards(asked).of([Given(answer, ITEM, 1)])[0][0]


SAID: dict[str, tuple[dict[str, Any], str, float]] = {
    "the same": ({"type": "string_check", "operation": "eq", **WANTED}, "Oslo", 1),
    "not the same": ({"type": "string_check", "operation": "eq", **WANTED}, "Oslo.", 0),
    "other than": ({"type": "string_check", "operation": "ne", **WANTED}, "Bergen", 1),
    "holds it": ({"type": "string_check", "operation": "like", **WANTED}, "It is Oslo.", 1),
    "in other letters": ({"type": "string_check", "operation": "like", **WANTED}, "It is OSLO.", 0),
    "in any letters": ({"type": "string_check", "operation": "ilike", **WANTED}, "It is OSLO.", 1),
    "found": ({"type": "regex", "pattern": r"\b[A-Z]{3}\b"}, "in SFO now", 1),
    "not found": ({"type": "regex", "pattern": r"^\d+$"}, "about 7", 0),
    "fits the schema": ({"type": "json_schema", "text": SCHEMA}, ' {"port": "Oslo"} ', 1),
    "lacks a key": ({"type": "json_schema", "text": SCHEMA}, '{"harbour": "Oslo"}', 0),
    "no JSON": ({"type": "json_schema", "text": SCHEMA}, "{port}", 0),
    "same rows": ({"type": "sql_execution", "text": SHOP, "reference": "{{ item.sql }}"}, "SELECT 'sail'", 1),
    "other rows": ({"type": "sql_execution", "text": SHOP, "reference": "{{item.sql}}"}, "SELECT name FROM wares", 0),
    "wants to write": ({"type": "sql_execution", "text": SHOP, "reference": "{{item.sql}}"}, "drop table wares", 0),
    "a part of it": (
        {"type": "string_check", "operation": "eq", "input": "{{ sample.output_json.b[0] }}", "reference": "7"},
        '{"b": [7]}',
        1,
    ),
    "no such part": (
        {"type": "string_check", "operation": "ne", "input": "{{ sample.output_json.b }}", "reference": "7"},
        "seven",
        0,
    ),
    "deep in the record": (
        {"type": "string_check", "operation": "eq", "reference": "{{ item.deep.list[1].b }} miles"},
        "7 miles",
        1,
    ),
    "weighed": ({"type": "regex", "pattern": "a", "weight": -2.5}, "a", -2.5),
}


@pytest.mark.parametrize(("asked", "answer", "number"), SAID.values(), ids=SAID.keys())
def test_an_answer_is_worth_what_its_reward_says(asked: dict[str, Any], answer: str, number: float) -> None:
    assert worth(asked, answer) == number


def test_rewards_are_added_up_by_their_weights_and_told_apart() -> None:
    both = rewards(
        {"type": "regex", "pattern": "^Oslo$", "weight": 2}, {"type": "regex", "pattern": "s"}, {"type": "python"} | OWN
    )
    assert both.names == ["regex[0]", "regex[1]", "python"]
    assert both.of([Given("Oslo", ITEM, 1)])[0] == (2 + 1 + 4.0, [1, 1, 4.0])
    assert both.of([Given("ships", ITEM, 1)])[0] == (1 + 5.0, [0, 1, 5.0])


OWN = {
    "function": "grades.py:grade",
    "file": "/x/grades.py",
    "text": "def grade(sample, item):\n    return len(sample['output_text'])",
}


def own(text: str) -> dict[str, Any]:
    return {"type": "python", "function": "grades.py:grade", "file": "/x/grades.py", "text": text}


BROKEN = {
    "def grade(sample, item):\n    return item['port']": "grades.py:grade failed: KeyError: 'port'",
    "def grade(sample, item):\n    return float('nan')": "grades.py:grade gave nan, which is no finite number",
    "def grade(sample, item):\n    return 'good'": "failed: ValueError: could not convert string to float: 'good'",
    "def grade(sample):\n    return 1": "failed: TypeError: grade() takes 1 positional argument but 2 were given",
}


@pytest.mark.parametrize(("text", "said"), BROKEN.items())
def test_a_function_that_fails_is_named_with_the_line_of_the_record(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"^rewards\[0\], record on line 7: ") as caught:
        rewards(own(text)).of([Given("x", ITEM, 7)])
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (own("def other(): ..."), "AttributeError"),
        (own("1 / 0"), "ZeroDivisionError"),
        ({"type": "python", "function": "no_such_module:grade"}, "ModuleNotFoundError"),
        ({"type": "sql_execution", "text": "create tabel", "reference": "x"}, "cannot be run"),
        ({"type": "json_schema", "text": '{"type": 7}'}, "is no JSON Schema"),
        ({"type": "json_schema", "text": "[1"}, "is no JSON Schema"),
    ],
)
def test_what_cannot_judge_is_refused_before_anything_is_tried(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"rewards\[0\]") as caught:
        rewards(asked)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_module_that_is_installed_can_judge() -> None:
    assert worth({"type": "python", "function": "tests.local.test_reward:a_grade"}, "four") == 4


def a_grade(sample: dict[str, Any], item: dict[str, Any]) -> int:
    return len(sample["output_text"]) if item["answer"] == "Oslo" else 0


def test_a_record_without_what_a_reward_names_is_refused() -> None:
    asked = rewards({"type": "string_check", "operation": "eq", "reference": "{{ item.port }}"})
    with pytest.raises(UsageError, match=r"line 3: the record has no item\.port, which rewards\[0\]\.reference names"):
        asked.require(ITEM, where="line 3")
    with pytest.raises(UsageError, match="is nothing that a reward can name"):
        rewards({"type": "string_check", "operation": "eq", "reference": "{{ port }}"}).require(ITEM, where="x")


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_grader_that_runs_elsewhere_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"no reward here is of type {kind}"):
        Reward.model_validate({"type": kind, "name": "x", "model": "gpt"})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"type": "regex"}, "needs pattern"),
        ({"type": "regex", "pattern": "("}, "no regular expression"),
        ({"type": "regex", "pattern": "a", "operation": "eq"}, "operation says nothing to a reward of type regex"),
        ({"type": "python", "function": "grade"}, "FILE.py:NAME or MODULE:NAME"),
        ({"type": "sql_execution", "reference": "x"}, "needs file"),
    ],
)
def test_a_reward_that_says_too_little_or_too_much_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Reward.model_validate(asked)


def job(folder: Path, reward: str) -> Path:
    (folder / "train.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n')
    path = folder / "finetune.yaml"
    path.write_text(
        f"name: x\nprovider: local\nmodel: a/b\nmethod: rft\ndata: {{train: train.jsonl}}\nrewards: [{reward}]\n"
    )
    return path


def test_the_file_of_a_reward_is_read_with_the_job_file_and_kept(tmp_path: Path) -> None:
    grades = tmp_path / "grades.py"
    grades.write_text("def grade(sample, item): return 1")
    path = job(tmp_path, "{type: python, function: 'grades.py:grade'}")
    first = load_job(path).rewards[0]
    assert (first.file, first.text) == (grades, "def grade(sample, item): return 1")
    grades.write_text("def grade(sample, item): return 2")
    assert load_job(path).rewards[0].text != first.text


def test_a_reward_whose_file_is_missing_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"schema\.json: the file of a reward cannot be read: No such file"):
        load_job(job(tmp_path, "{type: json_schema, file: schema.json}"))
