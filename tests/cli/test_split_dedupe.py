"""`split` and `dedupe` as they are typed, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from anytune.commands.dedupe import dedupe
from anytune.commands.split import split
from anytune.errors import AnytuneError, RefusedError, UsageError
from tests.data.samples import assistant, chat, user, write

RECORDS = [chat(user(f"Question {i % 40}"), assistant(f"Answer {i % 90}"), customer=i % 30) for i in range(100)]

app = typer.Typer()
app.command("split")(split)
app.command("dedupe")(dedupe)


def typed(*arguments: str, code: int = 0) -> Any:
    """Type a command and return its result; a mistake of the user's is raised."""
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, AnytuneError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(folder: Path) -> Path:
    return write(folder / "data.jsonl", *RECORDS)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def test_a_split_writes_two_files_beside_the_first_and_names_the_next_command(data: Path) -> None:
    said = typed("split", "data.jsonl")
    held_out = lines(data.with_name("data.validation.jsonl"))
    assert 0 < held_out < 40
    assert lines(data.with_name("data.train.jsonl")) == 100 - held_out
    assert f"{held_out}.0%" in said.stdout
    assert "100 examples, split by prompt" in said.stdout
    assert "anytune check data.train.jsonl --against data.validation.jsonl" in said.stderr


def test_a_split_can_be_told_sizes_group_and_folder(data: Path) -> None:
    said = typed(
        *("split", "data.jsonl", "--validation", "12", "--test", "0.2", "--group", "customer", "--drop-group"),
        *("--out-dir", "new/sides", "--json"),
    )
    document = json.loads(said.stdout)
    assert [(side["name"], side["wanted"]) for side in document["sides"]] == [
        ("train", None),
        ("validation", 12),
        ("test", 0.2),
    ]
    assert document["sides"][1]["examples"] in (9, 10, 11, 12)
    assert sum(lines(Path(side["path"])) for side in document["sides"]) == 100
    assert len(document["next"]) == 2
    assert b"customer" not in (data.parent / "new" / "sides" / "data.test.jsonl").read_bytes()


def test_a_split_by_the_first_turn_says_so(data: Path) -> None:
    asked = [chat(user(f"Question {i % 20}"), assistant(), *[user("Why?"), assistant()] * (i // 20)) for i in range(60)]
    write(data, *asked)
    assert "60 examples, split by first turn" in typed("split", "data.jsonl", "--by", "first-turn").stdout
    assert lines(data.with_name("data.validation.jsonl")) % 3 == 0
    with pytest.raises(UsageError, match="not by both"):
        typed("split", "data.jsonl", "--by", "first-turn", "--group", "customer", "--force")


def test_a_number_that_is_missed_is_said(data: Path) -> None:
    write(data, *(chat(user(f"Question {i % 5}"), assistant(str(i))) for i in range(50)))
    assert "validation has 10 of the 15 wanted" in " ".join(
        typed("split", "data.jsonl", "--validation", "15").output.split()
    )


@pytest.mark.parametrize("size", ["ten", "1.5", "0", "-3", "nan"])
def test_a_size_that_is_none_is_refused(data: Path, size: str) -> None:
    with pytest.raises(UsageError):
        typed("split", "data.jsonl", f"--validation={size}")


def test_a_new_file_replaces_none_unless_forced(data: Path) -> None:
    for verb in ("split", "dedupe"):
        typed(verb, "data.jsonl")
        with pytest.raises(UsageError, match="exists"):
            typed(verb, "data.jsonl")
        typed(verb, "data.jsonl", "--force")
    assert lines(data) == 100


def test_a_dedupe_says_which_line_went_because_of_which(data: Path) -> None:
    write(data, *RECORDS, RECORDS[4], RECORDS[50])
    said = typed("dedupe", "data.jsonl")
    assert "102 examples, 2 left out (exact)" in said.stdout
    assert "line 101: the same record as line 5" in said.stdout
    assert lines(data.with_name("data.prepared.jsonl")) == 100
    assert "anytune check data.prepared.jsonl" in said.stderr


def test_a_dedupe_by_prompt_says_that_answers_went(data: Path) -> None:
    said = typed("dedupe", "data.jsonl", "--kind", "prompt", "--out", "new.jsonl")
    assert "60 left out" in said.stdout
    assert "and 55 more" in said.stdout
    assert "answers" in said.stdout
    assert lines(data.with_name("new.jsonl")) == 40


def test_a_dedupe_by_likeness_gives_the_likeness(data: Path) -> None:
    words = [f"word{i}" for i in range(100)]
    write(data, {"text": " ".join(words)}, {"text": " ".join([*words, "more"])})
    document = json.loads(typed("dedupe", "data.jsonl", "--kind", "near", "--threshold", "0.9", "--json").stdout)
    assert document["dropped"] == [{"line": 2, "because_of": 1, "similarity": pytest.approx(99 / 100)}]
    assert (document["schema"], document["kind"], document["examples"], document["kept"]) == (1, "near", 2, 1)
    assert "99.0% alike" in typed("dedupe", "data.jsonl", "--kind", "near", "--force").stdout


def test_a_place_that_cannot_be_written_is_named(data: Path) -> None:
    for line in (("split", "data.jsonl", "--out-dir", "data.jsonl"), ("dedupe", "data.jsonl", "--out", "data.jsonl/b")):
        with pytest.raises(AnytuneError, match=r"exists|directory"):
            typed(*line)


def test_a_missing_file_is_refused_and_leaves_nothing(folder: Path) -> None:
    before = set(folder.iterdir())
    for verb in ("split", "dedupe"):
        with pytest.raises(RefusedError, match="there is no such file"):
            typed(verb, "none.jsonl")
    assert set(folder.iterdir()) == before
