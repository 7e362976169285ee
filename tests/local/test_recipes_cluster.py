"""The recipes for schedulers: the script that each of them runs, as it stands in the docs, as a plain process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local.conftest import end_workers

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
SCRIPT, SLURM = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
_, KUBERNETES, SKYPILOT = (
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)
COMMANDS = {
    "slurm": SLURM.replace("scontrol requeue", "echo requeue"),
    "kubernetes": " ".join(KUBERNETES["spec"]["template"]["spec"]["containers"][0]["command"]),
    "skypilot": SKYPILOT["run"].replace("/keep/home", "$PWD/.anytune"),
}


@pytest.fixture
def place(tmp_path: Path, base: Path, chats: Path) -> Iterator[Path]:
    """Make a folder with the job, the script, and an `anytune` on the search path."""
    training = {"epochs": 3, "batch_size": 4, "learning_rate": 2e-3, "seed": 7}
    job: dict[str, Any] = {"name": "tides", "provider": "local", "model": str(base), "training": training}
    job["data"] = {"train": str(chats)}
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(job))
    (tmp_path / "train.sh").write_text(SCRIPT)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "anytune"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m anytune "$@"\n')
    program.chmod(0o755)
    yield tmp_path
    end_workers(tmp_path)


def start(command: str, place: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ANYTUNE_HOME"}
    environment |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "7"}
    return subprocess.Popen(
        ["/bin/sh", "-c", command],
        env=environment,
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("recipe", COMMANDS)
def test_each_recipes_command_trains_the_job(place: Path, recipe: str) -> None:
    said, _ = (process := start(COMMANDS[recipe], place)).communicate(timeout=300)
    assert process.returncode == 0, said
    assert list(place.glob(".anytune/runs/*/model/adapter_model.safetensors"))


def test_a_script_that_is_ended_saves_and_its_next_run_goes_on(place: Path) -> None:
    job = (place / "finetune.yaml").read_text()
    (place / "finetune.yaml").write_text(job.replace("epochs: 3", "epochs: 60"))
    first = start(COMMANDS["slurm"], place)
    end = time.monotonic() + 200
    while not any('"step": 1' in path.read_text() for path in place.glob(".anytune/runs/*/events.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 7, said
    assert "requeue 7" in said
    second = start(COMMANDS["slurm"], place)
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    (events,) = place.glob(".anytune/runs/*/events.jsonl")
    assert "going on from step" in events.read_text()
