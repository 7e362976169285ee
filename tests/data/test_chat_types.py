from __future__ import annotations

import pytest
from pydantic import ValidationError

from anytune.schema.chat import Example, PlainText, Preference, PromptCompletion, Task
from tests.data.samples import CHAT, assistant, chat, user

CHATS = [
    "content-missing",
    "content-null",
    "weight-invalid",
    "tool-call-unanswered",
    "image-url-invalid",
    "role-developer",
]
PAIRS = ["output-invalid", "input-ends-with-assistant", "outputs-equal"]


@pytest.mark.parametrize("code", CHATS)
def test_good_chats_are_examples(code: str) -> None:
    for line in (CHAT / "near" / f"{code}.jsonl").read_bytes().splitlines():
        assert Example.model_validate_json(line).messages


@pytest.mark.parametrize("code", PAIRS)
def test_good_pairs_are_preferences(code: str) -> None:
    for line in (CHAT / "near" / f"{code}.jsonl").read_bytes().splitlines():
        assert Preference.model_validate_json(line).input.messages


def test_weights_and_reasoning_are_part_of_an_example() -> None:
    thought = {**assistant("5.9 m"), "reasoning_content": "High water is at six.", "weight": 1}
    example = Example.model_validate(chat(user(), thought, weight=0.5))
    assert example.weight == 0.5
    assert Example.model_validate_json(example.model_dump_json(exclude_none=True)) == example


def test_what_a_grader_needs_stands_beside_the_messages() -> None:
    task = Task.model_validate({"messages": [user()], "expected": "5.9"})
    assert task.model_extra == {"expected": "5.9"}


def test_raw_texts_are_records_too() -> None:
    assert PromptCompletion.model_validate({"prompt": "Tide: ", "completion": "5.9 m"}).completion == "5.9 m"
    assert PlainText.model_validate({"text": "High water at six."}).weight is None
    with pytest.raises(ValidationError):
        PlainText.model_validate({"text": "x", "weight": -1})


@pytest.mark.parametrize(
    "wrong",
    [
        chat(user(), assistant(weight=True)),
        chat(user(), assistant(weight=1.0)),
        chat(user(), assistant(weight=2)),
        chat(user(), assistant(None)),
        chat({"role": "human", "content": "x"}),
        chat(user(), assistant(), id=7),
        chat(user([]), assistant()),
        {"messages": []},
    ],
)
def test_bad_chats_are_no_examples(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(wrong)
