"""`audit` at the command line, and the gate before the ways out that are not a submit."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from anytune.testing.fake import FakeService
from tests.cli.conftest import Type

RECORD = "jobs.sqlite3"


def test_no_job_is_no_decision(anytune: Type) -> None:
    said = anytune("audit")
    assert (said.code, said.out) == (0, "no decisions so far: nothing was to leave\n")
    assert anytune("audit", "--json").document["decisions"] == []
    assert anytune("audit", "last").code == 2


def test_each_way_out_stands_in_the_record(anytune: Type) -> None:
    anytune("run", "-y")
    anytune("chat", "last", "--once", "What is 2 plus 2?")
    decisions = anytune("audit", "last", "--json").document["decisions"]
    assert [(one["act"], one["answer"]) for one in decisions] == [
        ("submit", "allowed"),
        ("evaluate", "allowed"),
        ("ask", "allowed"),
    ]
    assert [datum["role"] for one in decisions for datum in one["data"]] == ["train", "test"]
    said = anytune("audit")
    assert "train" in said.out
    assert decisions[-1]["seal"] in said.out


def test_a_seal_is_in_one_piece_on_a_narrow_screen(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    anytune("run", "-y", "--no-eval")
    (decision,) = anytune("audit", "--json").document["decisions"]
    assert decision["seal"] in anytune("audit").out


def test_a_stricter_policy_keeps_held_out_data_and_questions_from_a_hosted_model(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    anytune("run", "-y", "--no-eval")
    (folder / "anytune.yaml").write_text("policy: {residency: local}\n")
    asked = list(service.calls)
    for command in (["eval"], ["chat", "last", "--once", "What is 2 plus 2?"]):
        said = anytune(*command)
        assert said.code == 3
        assert "may not leave this machine" in said.err
        assert service.calls == asked
    answers = [one["answer"] for one in anytune("audit", "--json").document["decisions"]]
    assert answers == ["allowed", "refused", "refused"]


def test_private_values_in_a_question_are_blocked_as_in_a_file(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    (folder / "anytune.yaml").write_text("policy: {privacy: {block: [card]}}\n")
    anytune("run", "-y", "--no-eval")
    assert anytune("chat", "last", "--once", "What is 2 plus 2?").code == 0
    for question in (
        ["--once", "Is 4111 1111 1111 1111 a card?"],
        ["--system", "Her card is 4111-1111-1111-1111.", "--once", "What is it?"],
    ):
        said = anytune("chat", "last", *question)
        assert said.code == 3
        assert "privacy blocks card" in said.err
        assert "4111" not in said.err
    decisions = anytune("audit", "last", "--json").document["decisions"]
    assert [one["answer"] for one in decisions[-2:]] == ["allowed", "refused"]


def test_private_data_in_other_held_out_data_are_blocked_as_in_the_job_s_own(
    anytune: Type, folder: Path, service: FakeService
) -> None:
    """The policy held when the job was planned; the file came later."""
    (folder / "anytune.yaml").write_text("policy: {privacy: {block: [card]}}\n")
    assert anytune("run", "-y").code == 0
    chat = {"user": "Whose card is 4111 1111 1111 1111?", "assistant": "Nobody's."}
    messages = [{"role": role, "content": content} for role, content in chat.items()]
    (folder / "other.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    asked = list(service.calls)
    said = anytune("eval", "last", "--test", "other.jsonl")
    assert said.code == 3
    assert "privacy blocks card" in said.err
    assert "4111" not in said.err
    assert service.calls == asked


def test_a_record_that_was_changed_is_told_with_the_place_and_what_stands_in_it(anytune: Type) -> None:
    anytune("run", "-y")
    with sqlite3.connect(Path(os.environ["ANYTUNE_HOME"]) / RECORD) as db:
        db.execute("UPDATE decisions SET body = replace(body, '\"train\"', '\"test\"') WHERE position = 1")
    said = anytune("audit")
    assert said.code == 1
    assert "broken at decision 1" in said.err
    assert "train at fake" in said.out
    document = anytune("audit", "--json").document
    assert (document["ok"], document["unbroken"], len(document["decisions"])) == (False, False, 2)


def test_a_decision_of_which_nothing_can_be_read_is_told_as_a_broken_chain(anytune: Type) -> None:
    anytune("run", "-y")
    with sqlite3.connect(Path(os.environ["ANYTUNE_HOME"]) / RECORD) as db:
        db.execute("UPDATE decisions SET body = 'gone' WHERE position = 1")
    for command in (["audit"], ["audit", "last"]):
        said = anytune(*command)
        assert (said.code, "broken at decision 1" in said.err) == (1, True)
    assert [one["act"] for one in anytune("audit", "--json").document["decisions"]] == ["evaluate"]
