"""Several training files: each counts as its weight says, exactly, the same way every time, and is named in reports."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from anytune import Tuner
from anytune.data import mix
from anytune.errors import RefusedError, UsageError
from anytune.schema.data import Source


def chats(path: Path, count: int, *, word: str) -> Path:
    """Write so many different chats."""
    lines = (
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Which {word} is number {n}?"},
                    {"role": "assistant", "content": f"{word} {n}, as it stands in the list."},
                ]
            }
        )
        for n in range(count)
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return chats(tmp_path / "boats.jsonl", 20, word="boat"), chats(tmp_path / "ports.jsonl", 10, word="port")


def mixed(tmp_path: Path, *sources: tuple[Path, float]) -> tuple[Path, tuple[int, ...]]:
    return mix.kept([Source(path=path, weight=weight) for path, weight in sources], folder=tmp_path / "mixed")


def words(path: Path) -> list[str]:
    return [json.loads(line)["messages"][1]["content"].split(",")[0] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("weights", "counts"), [((1, 1), (20, 10)), ((2, 0.5), (40, 5)), ((0.25, 2.3), (5, 23)), ((0.05, 1), (1, 10))]
)
def test_each_file_has_exactly_as_many_examples_as_its_weight_says(
    two: tuple[Path, Path], tmp_path: Path, weights: tuple[float, float], counts: tuple[int, int]
) -> None:
    path, taken = mixed(tmp_path, (two[0], weights[0]), (two[1], weights[1]))
    assert taken == counts
    found = Counter(words(path))
    assert sum(many for word, many in found.items() if word.startswith("boat")) == counts[0]
    assert sum(many for word, many in found.items() if word.startswith("port")) == counts[1]
    for word, weight in (("boat", weights[0]), ("port", weights[1])):
        each = {many for one, many in found.items() if one.startswith(word)}
        assert each <= {int(weight), int(weight) + 1}, "no example counts more than another by two"


def test_what_is_taken_hangs_on_the_examples_alone(two: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = mixed(tmp_path, (two[0], 0.5), (two[1], 1))
    before = {word for word in words(path) if word.startswith("boat")}
    backwards = tmp_path / "backwards.jsonl"
    backwards.write_text("\n".join(reversed(two[0].read_text().splitlines())) + "\n\n")
    again, _ = mixed(tmp_path, (backwards, 0.5), (two[1], 1))
    assert {word for word in words(again) if word.startswith("boat")} == before


def test_the_files_stand_evenly_among_each_other(two: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = mixed(tmp_path, (two[0], 1), (two[1], 1))
    kinds = [word.split()[0] for word in words(path)]
    assert all(kinds[at : at + 3].count("port") == 1 for at in range(0, 30, 3))


def test_the_same_files_and_weights_are_the_same_file_and_others_another(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    first, _ = mixed(tmp_path, (two[0], 1), (two[1], 1))
    stamp = first.stat().st_mtime_ns
    assert mixed(tmp_path, (two[0], 1), (two[1], 1))[0] == first
    assert first.stat().st_mtime_ns == stamp
    assert mixed(tmp_path, (two[0], 1), (two[1], 2))[0] != first


def test_a_weight_that_takes_nothing_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"boats\.jsonl: weight 0\.01 takes none"):
        mixed(tmp_path, (two[0], 0.01), (two[1], 1))


def tuner(tmp_path: Path, train: Any, **more: Any) -> tuple[Tuner, Path]:
    job = tmp_path / "finetune.yaml"
    document = {
        "name": "mixed",
        "provider": "openai",
        "model": "gpt-4.1-mini-2025-04-14",
        "data": {"train": train, **more},
    }
    job.write_text(json.dumps(document))
    return Tuner(folder=tmp_path, environment={"ANYTUNE_HOME": str(tmp_path / "home")}), job


def test_a_plan_sends_one_file_and_says_what_came_from_where(two: tuple[Path, Path], tmp_path: Path) -> None:
    made, job = tuner(tmp_path, [{"path": "boats.jsonl", "weight": 1.5}, "ports.jsonl"])
    plan = made.plan(made.read(job))
    assert plan.ok, plan.refused
    (file,) = plan.files
    assert file.examples == 40
    parts = [report.part for report in plan.data.files if report.part]
    assert [(part.file.path.name, part.weight, part.taken) for part in parts] == [
        ("boats.jsonl", 1.5, 30),
        ("ports.jsonl", 1, 10),
    ]
    assert not [said for said in plan.warnings if "same" in said or "twice" in said], plan.warnings
    heavier, other = tuner(tmp_path, [{"path": "boats.jsonl", "weight": 2}, "ports.jsonl"])
    assert heavier.plan(heavier.read(other)).fingerprint != plan.fingerprint


def test_few_examples_in_one_file_are_enough_if_there_are_more_in_others(tmp_path: Path) -> None:
    chats(tmp_path / "few.jsonl", 4, word="quay")
    chats(tmp_path / "some.jsonl", 8, word="dock")
    made, job = tuner(tmp_path, ["few.jsonl", "some.jsonl"])
    assert made.plan(made.read(job)).ok
    made, job = tuner(tmp_path, ["few.jsonl", {"path": "some.jsonl", "weight": 0.5}])
    assert any("too-few-examples" in said for said in made.plan(made.read(job)).refused)


def test_a_fault_is_told_with_the_name_and_line_of_its_own_file(two: tuple[Path, Path], tmp_path: Path) -> None:
    lines = two[1].read_text().splitlines()
    lines[6] = '{"messages": "none"}'
    two[1].write_text("\n".join(lines) + "\n")
    made, job = tuner(tmp_path, ["boats.jsonl", "ports.jsonl"])
    refused = made.plan(made.read(job)).refused
    assert len(refused) == 1
    assert refused[0].startswith("ports.jsonl line 7: ")
    assert not (tmp_path / "home" / "mixed").exists()


def test_a_split_parts_the_mixture_and_a_part_that_is_held_out_is_refused(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    made, job = tuner(tmp_path, ["boats.jsonl", "ports.jsonl"], split=0.2)
    plan = made.plan(made.read(job))
    assert plan.ok, plan.refused
    assert sum(file.examples for file in plan.files) == 30
    made, job = tuner(tmp_path, ["boats.jsonl", "ports.jsonl"], test="ports.jsonl")
    assert "data.test has the same content as data.train: it is not held out" in made.plan(made.read(job)).refused


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ([], "train names no file"),
        (["boats.jsonl", "boats.jsonl"], "twice: give it a weight"),
        ([{"path": "boats.jsonl", "weight": 0}], "weight"),
        ([{"file": "boats.jsonl"}], "path"),
    ],
)
def test_a_list_that_says_nothing_clear_is_refused(
    two: tuple[Path, Path], tmp_path: Path, train: Any, said: str
) -> None:
    made, job = tuner(tmp_path, train)
    with pytest.raises(UsageError) as caught:
        made.plan(made.read(job))
    assert said in caught.value.message + str(caught.value.fix)
