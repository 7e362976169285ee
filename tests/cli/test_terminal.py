"""What a terminal gets that a pipe does not: colours, a live bar, its own width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from anytune.store import SqliteStore
from anytune.testing import sample_job

pytestmark = pytest.mark.engine

COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\d")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def on_terminal(*arguments: str, columns: int, **environment: str) -> str:
    """Run a command in a terminal of that width and return all that it drew."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [sys.executable, "-m", "anytune", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    child.wait(timeout=20)
    return drawn.decode()


@pytest.fixture
def job(folder: Path) -> Path:
    """Write a job that names a model for every built-in provider."""
    path = folder / "everywhere.yaml"
    path.write_text(
        "name: everywhere\nprovider: openai\n"
        "models: {openai: gpt-4.1-mini-2025-04-14, together: Qwen/Qwen3.5-9B, local: a/model-with-a-rather-long-name,\n"
        "  fireworks: qwen3-8b}\n"
        "data: {train: train.jsonl, test: test.jsonl}\n"
    )
    return path


@pytest.mark.parametrize("line", ["plan everywhere.yaml", "plan everywhere.yaml --all", "list", "check train.jsonl"])
def test_no_line_is_longer_than_sixty_columns(job: Path, line: str) -> None:
    drawn = CONTROL.sub("", on_terminal(*line.split(), columns=60))
    assert drawn
    assert [text for text in drawn.splitlines() if len(text) > 60] == []


def test_colours_are_for_terminals_and_no_color_is_obeyed(job: Path) -> None:
    assert COLOUR.search(on_terminal("plan", job.name, columns=80))
    assert not COLOUR.search(on_terminal("plan", job.name, columns=80, NO_COLOR="1"))


def test_of_many_jobs_a_screen_shows_the_newest_and_a_pipe_all(folder: Path) -> None:
    store = SqliteStore(folder / "home")
    for number in range(53):
        store.add(sample_job(f"job-{number:02d}-0123456789", name=f"job-{number:02d}", minute=number))
    home = {"ANYTUNE_HOME": str(folder / "home")}
    drawn = CONTROL.sub("", on_terminal("list", columns=80, **home))
    assert drawn.count("submitting") == 50
    assert "job-02-0123456789" not in drawn
    assert "and 3 earlier; anytune list --all shows them, too" in drawn
    whole = CONTROL.sub("", on_terminal("list", "--all", columns=80, **home))
    assert whole.count("submitting") == 53
    assert "earlier" not in whole
    piped = subprocess.run(
        [sys.executable, "-m", "anytune", "list"],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout.count("submitting") == 53
    assert "earlier" not in piped.stderr


def test_an_error_on_a_terminal_is_coloured_and_obeys_no_color(folder: Path) -> None:
    assert COLOUR.search(on_terminal("show", "nothing", columns=80))
    assert not COLOUR.search(on_terminal("show", "nothing", columns=80, NO_COLOR="1"))


def test_providers_stand_side_by_side_on_a_wide_terminal(job: Path) -> None:
    drawn = CONTROL.sub("", on_terminal("plan", job.name, "--all", columns=160))
    assert any("local" in text and "openai" in text and "together" in text for text in drawn.splitlines())
