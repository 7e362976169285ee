from __future__ import annotations

import pytest
from pydantic import ValidationError

from anytune.schema.chat import Example, Preference
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
