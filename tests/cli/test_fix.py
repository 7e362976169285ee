from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from anytune.commands.fix import fix
from anytune.errors import AnytuneError, RefusedError, UsageError
from anytune.ui import terminal

Typed = Callable[..., tuple[int, str, str]]
PORTS = ("Brest", "Lorient", "Vannes", "Royan", "Calais", "Dieppe", "Honfleur", "Roscoff", "Paimpol", "Granville")


def chat(asked: str, *more: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, *more, {"role": "assistant", "content": "5.9 m"}]}


GOOD = [chat(f"Tide at {port}?") for port in PORTS]
HUMAN = {"messages": [{"role": "human", "content": "Tide?"}, {"role": "assistant", "content": "5.9 m"}]}
EMPTY = {"messages": []}
TWO = chat("Tide?", {"role": "user", "content": "At Sein."})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    app = typer.Typer()
    app.command()(fix)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = app(list(arguments), standalone_mode=False)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def write(*records: Any) -> bytes:
    raw = b"".join(json.dumps(record).encode() + b"\n" for record in (*GOOD, *records))
    Path("train.jsonl").write_bytes(raw)
    return raw


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> Iterator[str]:
    """Let somebody sit at the terminal; yields the questions."""
    asked: list[str] = []
    left = iter(answers)

    def ask(question: str) -> str:
        asked.append(question)
        return next(left)

    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", ask)
    return iter(asked)


def test_what_is_safe_goes_into_a_new_file_and_the_old_one_stays(typed: Typed) -> None:
    raw = write(HUMAN)
    code, out, err = typed("train.jsonl")
    assert code == 0
    assert "train.jsonl → train.prepared.jsonl" in out
    assert 'role-unknown  1  write the role as providers name it: "human" as user (1), line 11' in out
    assert "next: anytune init" in err
    assert Path("train.jsonl").read_bytes() == raw
    assert json.loads(Path("train.prepared.jsonl").read_bytes().splitlines()[10]) == chat("Tide?")


def test_without_a_terminal_what_changes_meaning_is_left_and_told(typed: Typed) -> None:
    write(HUMAN, EMPTY, TWO)
    code, out, err = typed("train.jsonl")
    assert code == 3
    assert "left as it is, since it would change the meaning" in out
    assert "messages-empty  1  remove the record, line 12" in out
    assert "next: anytune fix train.jsonl -y --force" in err
    assert len(Path("train.prepared.jsonl").read_bytes().splitlines()) == 13


def test_where_nothing_was_mended_nothing_is_written_and_yes_needs_no_force(typed: Typed) -> None:
    write(EMPTY)
    code, out, err = typed("train.jsonl")
    assert code == 3
    assert "(nothing is written)" in out
    assert "nothing was mended" in out
    assert "next: anytune fix train.jsonl -y " in err
    assert "--force" not in err
    assert typed("train.jsonl", "-y")[0] == 0
    assert len(Path("train.prepared.jsonl").read_bytes().splitlines()) == 10


def test_a_file_that_needs_nothing_is_said_to_and_not_copied(typed: Typed) -> None:
    write()
    code, out, err = typed("train.jsonl")
    assert code == 0
    assert "nothing to mend" in out
    assert "next: anytune init" in err
    assert [path.name for path in Path().iterdir()] == ["train.jsonl"]


def test_yes_agrees_to_everything(typed: Typed) -> None:
    write(EMPTY, TWO)
    code, out, _ = typed("train.jsonl", "-y")
    assert code == 0
    assert "12 records, 11 kept, 1 removed" in out
    assert json.loads(Path("train.prepared.jsonl").read_bytes().splitlines()[-1]) == chat("Tide?\nAt Sein.")


def test_somebody_at_the_terminal_is_asked_for_each_kind(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    write(EMPTY, EMPTY, TWO)
    asked = answering(monkeypatch, "y", "")
    code, out, _ = typed("train.jsonl")
    assert code == 0
    assert [question.split(" ")[0] for question in asked] == ["messages-empty", "user-repeated"]
    assert "13 records, 11 kept, 2 removed" in out
    assert json.loads(Path("train.prepared.jsonl").read_bytes().splitlines()[-1]) == TWO


def test_one_answer_can_stand_for_all_the_rest(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    write(EMPTY, TWO)
    answering(monkeypatch, "all")
    assert typed("train.jsonl")[0] == 0


def test_what_comes_up_only_after_an_answer_is_asked_too(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    write({"messages": [{"role": "user", "content": [image]}, {"role": "assistant", "content": "5.9 m"}]})
    asked = answering(monkeypatch, *["y"] * 9)
    assert typed("train.jsonl")[0] == 0
    assert "content-empty" in [question.split(" ")[0] for question in asked]


def test_a_dry_run_says_all_and_writes_nothing(typed: Typed) -> None:
    write(HUMAN, EMPTY)
    code, out, err = typed("train.jsonl", "--dry-run")
    assert code == 3
    assert "(nothing is written)" in out
    assert "would mend" in out
    assert "next: anytune fix train.jsonl" in err
    assert [path.name for path in Path().iterdir()] == ["train.jsonl"]


def test_json_is_one_document(typed: Typed) -> None:
    write(HUMAN, EMPTY)
    code, out, _ = typed("train.jsonl", "--json", "--for", "openai")
    document = json.loads(out)
    assert code == 3
    assert (document["ok"], document["records"], document["written"], document["removed"]) == (False, 12, 12, 0)
    assert document["done"][0] == {
        "code": "role-unknown",
        "what": "write the role as providers name it",
        "count": 1,
        "level": "error",
        "asks": False,
        "lines": [11],
        "names": {'"human" as user': 1},
    }
    assert [change["code"] for change in document["left"]] == ["messages-empty"]
    assert document["files"][0]["counts"] == {"messages-empty": 1}
    assert document["next"][0] == "anytune fix train.jsonl --for openai -y --force"


def test_an_existing_file_is_written_over_only_by_force(typed: Typed) -> None:
    write(HUMAN)
    Path("train.prepared.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        typed("train.jsonl")
    assert Path("train.prepared.jsonl").read_text() == "mine"
    assert typed("train.jsonl", "--force")[0] == 0


def test_force_never_writes_over_the_file_itself(typed: Typed) -> None:
    raw = write(HUMAN)
    with pytest.raises(UsageError, match="the file itself"):
        typed("train.jsonl", "--out", "train.jsonl", "--force")
    assert Path("train.jsonl").read_bytes() == raw


def test_a_file_in_another_format_is_sent_to_convert(typed: Typed) -> None:
    Path("train.jsonl").write_text('{"instruction": "Tide?", "output": "5.9 m"}\n')
    with pytest.raises(RefusedError) as refused:
        typed("train.jsonl", "-y")
    assert refused.value.fix == "anytune convert train.jsonl"
    assert [path.name for path in Path().iterdir()] == ["train.jsonl"]


@pytest.mark.parametrize(("arguments", "code"), [(["missing.jsonl"], 3), (["train.jsonl", "--for", "opnai"], 2)])
def test_a_wrong_argument_is_a_line_and_no_traceback(arguments: list[str], code: int, typed: Typed) -> None:
    write()
    with pytest.raises(AnytuneError) as wrong:
        typed(*arguments)
    assert wrong.value.exit_code == code
