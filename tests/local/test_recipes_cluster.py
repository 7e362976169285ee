"""The recipes for schedulers: the script that each of them runs, as it stands in the docs, as a plain process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local.conftest import end_workers

pytestmark = [pytest.mark.local, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
NODE, SCRIPT, SLURM = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
_, (_, KUBERNETES), (SKYPILOT,) = (
    list(yaml.safe_load_all(text)) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
)
POD = KUBERNETES["spec"]["template"]["spec"]["containers"][0]
ENVIRONMENT = " ".join(f"{told['name']}={told['value']}" for told in POD["env"]).replace("tides-0.tides", "127.0.0.1")
INDEXED = f"export {ENVIRONMENT}; for n in 1 0; do JOB_COMPLETION_INDEX=$n {' '.join(POD['command'])} & done; wait $!"
COMMANDS = {
    "slurm": SLURM,
    "kubernetes": INDEXED,
    "skypilot": SKYPILOT["run"].replace("/keep/home", "$PWD/.anytune"),
}
# What stands in for Slurm: two machines, which are processes of this one.
SCONTROL = """#!/bin/sh
[ "$1" = show ] && echo 127.0.0.1 || echo "$@"
"""
SRUN = """#!/bin/sh
for number in 0 1; do SLURM_NODEID=$number "$@" & started="$started $!"; done
trap 'kill -TERM $started' TERM
most=0
for one in $started; do
    while kill -0 $one 2>/dev/null; do wait $one; status=$?; done
    [ $status -le $most ] || most=$status
done
exit $most
"""


@pytest.fixture
def place(tmp_path: Path, base: Path, chats: Path) -> Iterator[Path]:
    """Make a folder with the job, the script, and an `anytune` on the search path."""
    training = {"epochs": 3, "batch_size": 4, "learning_rate": 2e-3, "seed": 7}
    job: dict[str, Any] = {"name": "tides", "provider": "local", "model": str(base), "training": training}
    job["data"] = {"train": str(chats)}
    (tmp_path / "finetune.yaml").write_text(yaml.safe_dump(job))
    (tmp_path / "train.sh").write_text(SCRIPT)
    (tmp_path / "node.sh").write_text(NODE)
    programs = {"anytune": f'#!/bin/sh\nexec {sys.executable} -m anytune "$@"\n', "scontrol": SCONTROL, "srun": SRUN}
    programs["python3"] = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    yield tmp_path
    end_workers(tmp_path)


def start(command: str, place: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ANYTUNE_HOME"}
    environment |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment |= {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2"}
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    return subprocess.Popen(
        ["/bin/sh", "-c", command.replace("29400", str(port))],
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
    (events,) = place.glob(".anytune/runs/*/events.jsonl")
    assert ('"processes": 2' in events.read_text()) == (recipe != "skypilot"), "the others take two machines"


def test_a_script_that_is_ended_saves_and_its_next_run_goes_on(place: Path) -> None:
    job = (place / "finetune.yaml").read_text()
    (place / "finetune.yaml").write_text(job.replace("epochs: 3", "epochs: 30"))
    first = start(COMMANDS["slurm"], place)
    end = time.monotonic() + 400
    while not any('"step": 1' in path.read_text() for path in place.glob(".anytune/runs/*/events.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 7, said
    assert "requeue 7" in said
    second = start(COMMANDS["slurm"], place)
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    (events,) = place.glob(".anytune/runs/*/events.jsonl")
    assert "going on from step" in events.read_text()
