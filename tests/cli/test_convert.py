"""The `convert` command, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said, Type
from tests.data.samples import ROOT, write

FOLDER = ROOT / "fixtures" / "convert"


@pytest.fixture
def typed(anytune: Type, folder: Path) -> Callable[..., Said]:
    for path in FOLDER.glob("*.json*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return lambda *arguments: anytune("convert", *arguments)


def test_it_says_the_format_the_counts_and_the_next_command(typed: Callable[..., Said], folder: Path) -> None:
    said = typed("sharegpt.json")
    assert said.code == 0
    assert "sharegpt (by conversations, from, value): 3 records" in said.out
    assert "3 records read, 3 chats written" in said.out
    assert "wrote sharegpt.prepared.jsonl" in said.out
    assert "next: anytune check sharegpt.prepared.jsonl" in said.err
    assert (folder / "sharegpt.prepared.jsonl").is_file()


def test_losses_are_shown_by_code_with_their_first_places(typed: Callable[..., Said]) -> None:
    said = typed("openai-log.jsonl")
    assert said.code == 0
    assert "lost key-dropped  6 times: a chat has no place for it" in said.out
    assert "line 1  $.latency_ms  812" in said.out
    assert "and 3 more" in said.out


def test_a_record_that_was_left_out_is_an_exit_code_of_3(typed: Callable[..., Said]) -> None:
    said = typed("kto.jsonl")
    assert said.code == 3
    assert "1 pair written, 1 joined with another, 1 left out" in said.out
    assert "left out unpaired  1 time" in said.out
    assert "line 2" in said.out
    assert "next: anytune check kto.prepared.jsonl --method dpo" in said.err


def test_a_file_that_nobody_knows_leaves_nothing_and_leads_to_the_formats(
    typed: Callable[..., Said], folder: Path
) -> None:
    write(folder / "odd.jsonl", {"zzz": 1})
    said = typed("odd.jsonl")
    assert (said.code, "wrote" in said.out) == (3, False)
    assert "anytune convert --help" in said.err
    assert not (folder / "odd.prepared.jsonl").exists()


def test_json_is_one_document(typed: Callable[..., Said]) -> None:
    said = typed("alpaca.jsonl", "--to", "sharegpt", "--out", "new.jsonl", "--json")
    document = said.document
    assert (document["ok"], document["out"], document["written"]) == (True, "new.jsonl", 3)
    assert document["formats"][0]["by"] == ["instruction", "output"]
    assert document["next"] == ["anytune convert new.jsonl --to chat"]


def test_another_file_is_replaced_only_with_force(typed: Callable[..., Said], folder: Path) -> None:
    (folder / "new.jsonl").write_text("mine")
    said = typed("chat.jsonl", "--out", "new.jsonl")
    assert (said.code, (folder / "new.jsonl").read_text()) == (2, "mine")
    assert "--force" in said.err
    assert typed("chat.jsonl", "--out", "new.jsonl", "--force").code == 0
    assert len((folder / "new.jsonl").read_text().splitlines()) == 3


def test_a_wrong_format_is_a_mistake_and_a_wrong_file_is_refused(typed: Callable[..., Said]) -> None:
    assert typed("chat.jsonl", "--to", "yaml").code == 2
    assert typed("chat.jsonl", "--from", "yaml").code == 2
    said = typed("none.jsonl", "--json")
    assert (said.code, json.loads(said.out)["ok"]) == (3, False)


def test_what_the_user_wrote_cannot_move_the_cursor(typed: Callable[..., Said], folder: Path) -> None:
    write(folder / "odd.jsonl", {"messages": [{"role": "\x1b[2J", "content": "a"}]}, {"\x1b[31m": 1})
    assert "\x1b" not in typed("odd.jsonl").out
