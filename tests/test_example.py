"""The demo is honest: its base never saw a question with its query, its test questions were never trained on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sqlite3
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
TASK, BASE = ROOT / "examples" / "english-to-sql", ROOT / "fixtures" / "tiny-base"
PARTS = ("train", "validation", "test", "unseen-tables")


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made  # dataclasses look their module up there
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def chats() -> dict[str, list[dict[str, str]]]:
    """Return each part's chats as role → text."""
    return {
        part: [
            {m["role"]: m["content"] for m in json.loads(line)["messages"]}
            for line in (TASK / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for part in PARTS
    }


def test_no_prompt_stands_in_two_files(chats: dict[str, list[dict[str, str]]]) -> None:
    prompts = [(chat["system"], chat["user"]) for part in PARTS for chat in chats[part]]
    assert len(set(prompts)) == len(prompts)


def test_no_value_of_a_test_question_was_trained_on(chats: dict[str, list[dict[str, str]]]) -> None:
    make = module(TASK / "make_data.py")
    values = {value for kind in make.POOLS for value in make.pool(kind, "test")}
    trained = "\n".join(chat["user"] + chat["assistant"] for part in ("train", "validation") for chat in chats[part])
    assert [value for value in sorted(values) if value in trained] == []
    assert all(
        any(v in chat["user"] for v in values) or any(c.isdigit() for c in chat["user"]) for chat in chats["test"]
    )


def test_every_wanted_query_runs_and_returns_something(chats: dict[str, list[dict[str, str]]]) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript((TASK / "tables.sql").read_text(encoding="utf-8"))
    for part in ("test", "unseen-tables"):
        assert [c["assistant"] for c in chats[part] if not database.execute(c["assistant"]).fetchall()] == []


def test_the_data_files_are_those_that_the_script_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_data.py", "--out", str(tmp_path)])
    module(TASK / "make_data.py").main()
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (TASK / made.name).read_bytes(), made.name


def test_the_base_never_saw_a_question_with_its_query_nor_a_table_of_the_task() -> None:
    corpus, make = module(BASE / "corpus.py"), module(TASK / "make_data.py")
    tables = {table.name for table in (*make.TABLES, *make.UNSEEN_TABLES)}
    seen = list(islice(corpus.documents(21), 4000))
    in_chats = " ".join(text for chat in seen if not isinstance(chat, str) for _, text in chat)
    raw = " ".join(text for text in seen if isinstance(text, str))
    assert "SELECT" not in in_chats
    assert "SELECT" in raw
    assert tables & set(raw.replace("(", " ").replace(";", " ").split()) == set()


def test_the_shipped_base_is_small_and_is_what_its_card_says() -> None:
    sums = dict(reversed(line.split("  ")) for line in (BASE / "SHA256SUMS").read_text().splitlines())
    for name, digest in sums.items():
        assert hashlib.sha256((BASE / name).read_bytes()).hexdigest() == digest, name
    assert (BASE / "model.safetensors").stat().st_size <= 8_000_000
    assert sums["model.safetensors"] in (BASE / "README.md").read_text(encoding="utf-8")
