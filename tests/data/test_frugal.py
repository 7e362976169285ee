"""What a check does not need, it does not do."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from anytune.data.check import rows
from anytune.data.check.rows import Rows, Scratch
from anytune.data.check.rules import COLUMNS, minded
from tests.data.samples import ROOT, chat, report, script, write


def test_a_check_makes_a_folder_only_for_what_memory_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    real = tempfile.TemporaryDirectory

    def noted(**given: Any) -> Any:
        folder = real(dir=tmp_path, **given)
        made.append(Path(folder.name))
        return folder

    monkeypatch.setattr(tempfile, "TemporaryDirectory", noted)
    path = write(tmp_path / "train.jsonl", *[chat() for _ in range(30)])
    before = report(path)
    assert made == []
    monkeypatch.setattr(rows, "MOST", 4)
    assert report(path).counts == before.counts
    assert len(made) == 1
    assert not made[0].exists()


def test_rows_that_wait_on_disk_are_read_back_and_their_folder_goes() -> None:
    with Scratch() as scratch:
        held = Rows(scratch)
        for number in range(3):
            held.add(range(1, rows.MOST + 2), [number] * (rows.MOST + 1))
        folder = scratch.folder
        assert len(list(folder.iterdir())) == 6
        assert [len(keys) for keys, _ in held.pieces()] == [rows.MOST + 1] * 3
    assert not folder.exists()


def test_who_minds_what_is_worked_out_once() -> None:
    assert minded(COLUMNS, "dpo") is minded(COLUMNS, "dpo")
    with pytest.raises(TypeError):
        minded(COLUMNS, "dpo")["sharegpt"] = None  # type: ignore[index]


def test_a_file_for_the_bench_can_be_of_every_kind_that_there_is(tmp_path: Path) -> None:
    data_file = script(ROOT / "bench" / "data_file.py")
    for kind in (*data_file.KINDS, data_file.PRIVATE):
        path = tmp_path / f"{kind}.jsonl"
        command = [sys.executable, "bench/data.py", "--make", str(path), "--megabytes", "0.05", "--faulty", kind]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "@example.org" in json.loads(path.read_bytes().split(b"\n")[0])["messages"][-1]["content"]
