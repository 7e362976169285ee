"""Preview on the command line: what is asked of the worker, and what a person and a program are shown of its answer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anytune.errors import MissingExtraError
from anytune.local import processes
from anytune.ui import preview, stretch
from tests.amount import examples
from tests.cli.conftest import Type

TEMPLATE = {"bos": "<s>", "ends": ["</s>"], "marks": True}
ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def example(*stretches: tuple[bool, str], line: int = 1, **changes: Any) -> dict[str, Any]:
    """Return an example of the worker's, a token a word."""
    pieces = [(word, trained) for trained, text in stretches for word in text.split("|")]
    counts = {"side": None, "part": None, "bos": 1, "ends": 2, "ends_trained": 1, "over": None, "fault": None}
    texts, trained = [word for word, _ in pieces], [mark for _, mark in pieces]
    return {"line": line, "ids": list(range(len(texts))), "texts": texts, "trained": trained, **counts, **changes}


def found(*examples: dict[str, Any], faults: list[dict[str, Any]] | None = None, **figures: Any) -> dict[str, Any]:
    """Return a worker's answer."""
    spread = {"total": 90, "smallest": 3, "median": 20, "p95": 30, "largest": 37, "largest_line": 9}
    over = {"examples": 0, "lines": [], "left_out": 0, "answers_cut": 0}
    file = {"examples": 4, "counted": 4, "encoded": 4, "pairs": 0, "tokens": spread, "trained": spread, "over": over}
    kinds = faults or []
    return {
        "template": TEMPLATE,
        "examples": list(examples),
        "file": {**file, "trained_lost": 0, "bos": 4, **figures},
        "faults": {"examples": sum(kind["examples"] for kind in kinds), "kinds": kinds, "untold": 0},
    }


def drawn(
    answer: dict[str, Any], *, max_length: int = 99, over: Any = "truncate_right", every: bool = False, **console: Any
) -> str:
    """Show an answer on a console in memory."""
    out = io.StringIO()
    asked = preview.Asked(Path("t.jsonl"), None, "m", max_length, over, "as given", chosen=True)
    on = Console(file=out, **{"width": 80, "highlight": False, "markup": False, "emoji": False, **console})
    preview.show(answer, asked, on=on, every=every)
    return out.getvalue()


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Return a folder that passes for a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 256}')
    return str(folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for the worker and keep what it is asked."""
    calls: list[list[str]] = []

    def answer(*arguments: str) -> dict[str, Any]:
        calls.append([*arguments])
        return ANSWERS.pop() if ANSWERS else found(example((False, "<s>|Hi|"), (True, "Yo|</s>")))

    monkeypatch.setattr(processes, "worker_answer", answer)
    monkeypatch.setattr(processes, "demand_packages", lambda _: None)
    return calls


ANSWERS: list[dict[str, Any]] = []


def test_a_data_file_is_cut_where_the_model_ends_unless_told(anytune: Type, asked: list[list[str]], model: str) -> None:
    said = anytune("preview", "train.jsonl", "--model", model)
    assert said.code == 0
    assert "<s>Hi«Yo</s>»" in said.out
    assert "max_length 256 (the default); longer ones are left out" in said.out
    assert "next: anytune plan finetune.yaml" in said.err
    anytune(
        "preview",
        "train.jsonl",
        "--model",
        model,
        "--max-length",
        "64",
        "--over-length",
        "refuse",
        "--lines",
        "7,3,7",
        "--exact",
    )
    common = ["preview", "--file=train.jsonl", f"--model={model}"]
    assert asked == [
        [*common, "--max-length=256", "--over-length=drop", "--first=3", "--sample=2000"],
        [*common, "--max-length=64", "--over-length=refuse", "--line=7", "--line=3", "--first=3"],
    ]


def test_a_job_file_says_what_to_look_at(anytune: Type, asked: list[list[str]], model: str, folder: Path) -> None:
    (folder / "finetune.yaml").write_text(
        f"name: x\nprovider: local\nmodel: {model}\ndata: {{train: train.jsonl}}\ntraining: {{max_length: 99}}\n"
    )
    document = anytune("preview", "--json").document
    assert (document["schema"], document["ok"], document["max_length"]) == (1, True, 99)
    assert document["path"] == str(folder / "train.jsonl")
    assert document["examples"][0]["spans"] == [
        {"start": 0, "end": 3, "trained": False, "text": "<s>Hi"},
        {"start": 3, "end": 5, "trained": True, "text": "Yo</s>"},
    ]
    assert asked[0][2:4] == [f"--model={model}", "--max-length=99"]


def test_of_a_pair_both_answers_are_shown(anytune: Type, asked: list[list[str]], model: str, folder: Path) -> None:
    (folder / "finetune.yaml").write_text(
        f"name: x\nprovider: local\nmodel: {model}\nmethod: dpo\ndata: {{train: train.jsonl}}\n"
    )
    sides = ("preferred_output", "non_preferred_output")
    ANSWERS.append(found(*(example((False, "Hi"), (True, "Yo"), side=side) for side in sides), pairs=2))
    said = anytune("preview")
    assert "line 1, preferred_output  2 tokens" in said.out
    assert "line 1, non_preferred_output" in said.out
    assert "of a pair both answers count, each with what was asked" in said.out
    assert "--method=dpo" in asked[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.jsonl"], "which one is to be tuned"),
        (["train.jsonl", "--model", "./none"], "no such folder: ./none"),
        (["train.jsonl", "--model", "acme/none"], "acme/none is not on this machine"),
        (["--lines", "1", "--first", "2"], "do not go together"),
        (["train.jsonl", "--lines", "1,x"], "no list of line numbers"),
        (["train.jsonl", "--lines", "0"], "no list of line numbers"),
        (["train.jsonl", "--max-length", "7"], "greater than or equal to 8"),
        (["none.yaml"], "none.yaml"),
    ],
)
def test_a_wrong_wish_is_one_line_and_asks_nothing(
    anytune: Type, asked: list[list[str]], arguments: list[str], said: str
) -> None:
    got = anytune("preview", *arguments)
    assert got.code == 2
    assert said in got.err
    assert asked == []


def test_what_the_worker_cannot_do_is_told_as_its_kind(anytune: Type, asked: list[list[str]], model: str) -> None:
    Path("t.jsonl").write_text("{}\n")
    for code in (2, 3):
        ANSWERS.append({"error": {"message": "t.jsonl is empty", "fix": "add examples", "exit_code": code}})
        got = anytune("preview", "t.jsonl", "--model", model)
        assert got.code == code
        assert "error: t.jsonl is empty\n  fix: add examples" in got.err


def test_a_fault_exits_3_and_names_its_lines_and_the_way_on(anytune: Type, asked: list[list[str]], model: str) -> None:
    fault = {"message": "nothing in it is trained", "fix": "train something", "examples": 9, "lines": [1, 2, 5, 6]}
    ANSWERS.append(found(example((False, "<s>|Hi"), fault=fault), faults=[fault], encoded=2))
    got = anytune("preview", "train.jsonl", "--model", model)
    assert got.code == 3
    assert "error  lines 1, 2, 5, 6 and 5 more: nothing in it is trained" in got.out
    assert "--lines 2,5,6" in got.err
    assert "anytune check train.jsonl" in got.err


def test_a_length_that_holds_all_is_named_where_the_model_can_hold_it(
    anytune: Type, asked: list[list[str]], model: str
) -> None:
    over = {"over": {"examples": 1, "lines": [1], "left_out": 1, "answers_cut": 1}, "trained_lost": 5}
    ANSWERS.append(found(example((False, "a|b"), (True, "c")), **over))
    got = anytune("preview", "train.jsonl", "--model", model, "--max-length", "32")
    assert "--max-length 64\n" in got.err
    assert "anytune plan finetune.yaml" in got.err


def test_a_missing_package_is_named(anytune: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda _: None)
    got = anytune("preview", "train.jsonl", "--model", "m")
    assert got.code == MissingExtraError.exit_code
    assert "pip install 'anytune[local]'" in got.err


OVER = {"tokens": 6, "trained": 4, "tokens_lost": 2, "trained_lost": 2, "left_out": False}


def test_the_cut_is_marked_and_priced() -> None:
    shown = drawn(found(example((False, "a|b"), (True, "c|d|e|</s>"), over=OVER)), max_length=4)
    assert "ab«cd»\n  ✂  max_length 4 ends here\n  «e</s>»" in shown
    assert "longer than max_length 4: its end is cut off, 2 of 6 tokens, 2 of 4 trained ones (50.0%)" in one_line(shown)


def test_what_lost_its_beginning_or_is_left_out_is_told_and_nothing_of_it_is_marked_as_cut() -> None:
    long = example((False, "a|b"), (True, "c|d|e|</s>"), over={**OVER, "trained_lost": 0})
    shown = drawn(found(long), max_length=4, over="truncate_left")
    assert "its beginning is cut off, 2 of 6 tokens, 0 of 4 trained ones (0.0%)" in one_line(shown)
    assert "✂" not in shown
    long["over"]["left_out"] = True
    assert "longer than max_length 4: left out\n" in drawn(found(long), max_length=4, over="drop")
    alone = drawn(found(long), max_length=4, over="truncate_left")
    assert "left out, for its answer alone leaves no room" in alone


def one_line(shown: str) -> str:
    return " ".join(shown.split())


def test_a_long_example_is_shortened_but_never_its_borders() -> None:
    long = found(example((False, "<s>|" + "|".join(["x "] * 500)), (True, "|".join(["y "] * 500) + "|</s>")))
    shown = drawn(long, max_length=9999)
    assert "[…405 tokens left out…]" in shown
    assert "x «y" in shown
    assert "left out" not in drawn(long, max_length=9999, every=True)
    turns = found(example(*((bool(n % 2), f"t{n}") for n in range(100))))
    shown = drawn(turns, max_length=50)
    assert "[…34 tokens left out…]" in shown
    for kept in ("t0", "t7", "t42", "t49", "t50", "t57", "t92", "t99"):
        assert kept in shown


def test_on_a_screen_colour_says_what_is_trained_and_without_colour_brackets_do() -> None:
    answer = found(example((False, "Hi\n"), (True, "Yo")))
    coloured = drawn(answer, force_terminal=True, color_system="standard")
    assert "\x1b[1;32mYo" in coloured
    assert "«" not in coloured
    assert "«Yo»" in drawn(answer, force_terminal=True, color_system="standard", no_color=True)
    assert "Hi⏎\n  «Yo»" in drawn(answer)
    assert "⟦Yo⟧" in drawn(found(example((False, "«Hi»"), (True, "Yo"))))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.booleans(), ODD), min_size=1, max_size=6), st.integers(8, 60), st.booleans())
def test_no_text_breaks_the_screen(stretches: list[tuple[bool, str]], width: int, screen: bool) -> None:
    shown = drawn(found(example(*stretches)), width=width, force_terminal=screen, color_system=None, max_length=8)
    assert all(c == "\n" or c.isprintable() or c in stretch.SHOWN for c in shown)


def test_the_document_holds_every_token_whatever_its_length() -> None:
    answer = found(example((False, "|".join(["x"] * 999)), (True, "y|</s>")))
    asked = preview.Asked(Path("t.jsonl"), None, "m", 999, "truncate_right", "as given", chosen=True)
    document = json.loads(json.dumps(preview.document(answer, asked)))
    (shown,) = document["examples"]
    assert (shown["cut_at"], shown["over"]) == (999, None)
    assert [len(span["text"]) for span in shown["spans"]] == [999, 5]
    assert len(shown["ids"]) == 1001
