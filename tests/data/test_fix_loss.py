from __future__ import annotations

import json
from pathlib import Path

import pytest

from anytune.data.fix import ASKED, fix
from anytune.errors import RefusedError
from tests.data.samples import assistant, chat, user, write

LOGS = [{"request": {"messages": [user(f"Tide {n}?")]}, "response": {"choices": [n]}} for n in range(20)]
GOOD = [chat(user(f"Tide {n}?"), assistant()) for n in range(3)]


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("agreed", [frozenset[str](), ASKED], ids=["unasked", "agreed"])
def test_logs_are_sent_to_convert_and_nothing_is_written(agreed: frozenset[str], tmp_path: Path) -> None:
    path = write(tmp_path / "logs.jsonl", *LOGS)
    with pytest.raises(RefusedError, match="20 of 20 records have a shape that no provider knows") as refused:
        fix(path, out=tmp_path / "b.jsonl", agreed=agreed)
    assert refused.value.fix == f"anytune convert {path}"
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_whose_keys_are_all_unknown_keeps_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD, chat(user(role="human"), assistant()), *LOGS[:2])
    found = fix(path, out=tmp_path / "b.jsonl")
    assert lines(tmp_path / "b.jsonl")[4:] == LOGS[:2]
    assert [change.code for change in found.done] == ["role-unknown"]
    assert {change.code: change.count for change in found.left}["messages-missing"] == 2


def test_records_that_differ_in_what_an_unknown_key_says_are_one_only_when_agreed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD, *({**chat(), "note": f"What {n} said."} for n in (1, 2, 2)))
    found = fix(path, out=tmp_path / "b.jsonl")
    assert lines(tmp_path / "b.jsonl")[3:] == [chat(), {**chat(), "note": "What 2 said."}]
    assert [(change.code, change.count, change.asks) for change in found.left] == [("record-key-unknown", 1, True)]
    again = fix(tmp_path / "b.jsonl", out=tmp_path / "c.jsonl")
    assert again.done == ()
    found = fix(path, out=tmp_path / "d.jsonl", agreed=ASKED)
    assert lines(tmp_path / "d.jsonl")[3:] == [chat()]
    assert found.ok or {issue.code for issue in found.report.files[0].errors} == {"too-few-examples"}


def test_records_that_differ_in_numbers_nobody_reads_are_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *GOOD, *({**chat(), "id": n} for n in (1, 2)))
    found = fix(path, out=tmp_path / "b.jsonl")
    assert (found.removed, found.left) == (1, ())
    assert lines(tmp_path / "b.jsonl")[3:] == [chat()]
