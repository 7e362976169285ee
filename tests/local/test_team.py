"""What the processes of a run say to each other: it comes whole and as it was, and is never a pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TALK = """
import pickle, sys

import torch.distributed as dist

from anytune.errors import UsageError
from anytune.local.training.team import Team

rank = int(sys.argv[1])
store = dist.FileStore(sys.argv[2], 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
team = Team(rank, 2)


def never(*_, **__):
    raise AssertionError("a pickle was read")


pickle.loads = pickle.load = pickle.Unpickler = never
long = {"é": [0.1 + 0.2, 1e-323, float("inf")], "none": None, "text": "x" * 100_000}
assert team.all([rank, long] if rank else []) == [[], [1, long]]
assert team.told(lambda: long if rank == 0 else 1 / 0) == long
assert team.told(lambda: None) is None
assert team.agreed(rank == 1) and not team.agreed(False)
try:
    team.all(object())
except TypeError:
    print("refused")
team.require_same("a", "base model")
try:
    team.require_same(rank, "base model")
except UsageError as error:
    print(error.message)
dist.destroy_process_group()
"""


@pytest.mark.local
@pytest.mark.timeout(120)
def test_what_processes_say_to_each_other_is_json_and_comes_as_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TALK]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=100)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert all("refused" in each for each in said)
    assert all("not all processes of the run see the same base model" in each for each in said)
