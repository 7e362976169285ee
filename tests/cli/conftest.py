"""What the tests of the command line share: a folder with a job, and two ways to type a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import anytune.tuner  # before the fake is registered: its list of built-in providers is made at import
from anytune import cli, providers
from anytune.commands.shelf import Entry
from anytune.jobs import inquiry, pace, sweep, turns
from anytune.schema.job import JobState
from anytune.testing.fake import STATES, FakeService
from anytune.testing.rig import sample_file
from tests.cli.far_side import SERVICES

JOB = "name: sums\nprovider: fake\nmodel: fake-1\ndata: {train: train.jsonl, test: test.jsonl}\n"
KEY = "fake-key-1234567890"


@dataclass(frozen=True)
class Said:
    """Be what a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Type = Callable[..., Said]


@pytest.fixture(autouse=True, scope="session")
def commands_built_once() -> Iterator[None]:
    """Build each command once: a user's process runs one of them, and the tests run thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        patch.setattr(Entry, "load", cache(Entry.load))
        yield


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a job for the fake provider, its data, and its key in the environment."""
    monkeypatch.setitem(providers.BUILT_IN, "fake", "tests.cli.far_side:LastingFake")
    monkeypatch.setitem(pace.POLL, False, (0.001, 0.001))
    monkeypatch.setitem(turns.EVERY, False, 0.001)
    monkeypatch.setitem(inquiry.HEAR, False, 0.0)
    monkeypatch.setattr(sweep, "SOON", 0.001)
    monkeypatch.setitem(STATES, "interrupted", JobState.PAUSED)
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("ANYTUNE_DEBUG", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    sample_file(work)
    sample_file(work, role="test", examples=11)
    (work / "finetune.yaml").write_text(JOB)
    return work


@pytest.fixture
def service() -> FakeService:
    """Return the fake's far side."""
    return SERVICES.setdefault(Path(os.environ["ANYTUNE_HOME"]), FakeService())


@pytest.fixture
def anytune(capsys: pytest.CaptureFixture[str]) -> Type:
    """Type a command in this process; nobody is at the terminal."""

    def typed(*arguments: str) -> Said:
        capsys.readouterr()
        code = cli.call(list(arguments))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return typed


@pytest.fixture
def process() -> Type:
    """Type a command as a user does: a process of its own, in a pipe."""

    def typed(*arguments: str, stdin: str = "", **environment: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "anytune", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=60,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return typed
