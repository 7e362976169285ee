"""Together from the command line: what is offered next is what can be done there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anytune.jobs import Lease
from tests.cli.conftest import Type
from tests.stubs.together import TogetherStub


@contextmanager
def at_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    """Serve Together's stand-in, and leave a job for it in the folder."""
    (folder / "finetune.yaml").write_text(
        "name: s\nprovider: together\nmodel: Qwen/Qwen3.5-9B\ndata: {train: train.jsonl}\n"
    )
    with TogetherStub() as stub:
        stub.life = ("pending", "running", "completed")
        monkeypatch.setenv("TOGETHER_API_KEY", stub.key)
        (folder / "anytune.yaml").write_text(f"profiles: {{together: {{base_url: '{stub.base_url}'}}}}\n")
        yield stub


@pytest.mark.engine
def test_several_processes_that_export_one_model_into_one_folder_write_it_once_and_whole(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that two would have grown together would have been twice as long, or mixed."""
    with at_together(folder, monkeypatch):
        assert anytune("run", "-y", "--no-eval").code == 0
        command = [sys.executable, "-m", "anytune", "export", "last", "--to", "adapter", "--out", "weights"]
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment}
        started = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert [code for _, code in ends].count(0) == 1, ends
    assert all("another process is writing" in said for said, code in ends if code == 7)
    assert all("is there already" in said for said, code in ends if code not in (0, 7)), ends
    manifest = json.loads((folder / "weights" / "manifest.json").read_text())
    for name, told in manifest["files"].items():
        assert hashlib.sha256((folder / "weights" / name).read_bytes()).hexdigest() == told
    assert [path.name for path in folder.glob(".weights*")] == []


def test_a_folder_that_another_process_writes_to_is_left_to_it(anytune: Type, folder: Path) -> None:
    anytune("run", "-y", "--no-eval")
    name = hashlib.sha256(str(folder / "weights").encode()).hexdigest()[:16]
    with Lease(Path(os.environ["ANYTUNE_HOME"]) / "exports", name) as lease:
        assert lease.take()
        said = anytune("export", "last", "--to", "adapter", "--out", "weights")
        assert (said.code, "another process is writing" in said.err) == (7, True)
        assert anytune("export", "last", "--to", "adapter", "--out", "other").code == 0


def test_checkpoints_come_home_and_nothing_is_offered_that_cannot_be_done(
    anytune: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_together(folder, monkeypatch) as stub:
        assert anytune("submit", "-y").code == 0
        for remote_id in stub.jobs:
            for word in ("running", "completed"):
                stub.enter(stub.job(remote_id), word)
        shown = anytune("show", "--json").document
        assert [command.split()[1] for command in shown["next"]] == ["export"]
        listed = anytune("checkpoints", "--json").document
        assert [(each["step"], each["model"].partition(":")[2]) for each in listed["checkpoints"]] == [
            (1, "1"),
            (2, "2"),
        ]
        assert [command.split()[1] for command in listed["next"]] == ["export"]
        said = anytune("export", "--step", "1", "--to", "adapter", "--out", "early")
        assert said.code == 0, said.err
        assert (folder / "early" / "adapter_model.safetensors").exists()
        assert "step 1 as adapter" in anytune("export", "--step", "1", "--to", "merged", "--out", "other").err
