"""Ten submits and two watchers at once against a stand-in that counts calls by the minute: `python bench/rate.py`.

Three runs, each with real commands in processes that are forked with everything imported: within a budget that the
provider allows; at a provider that allows less than anybody knew, so that it answers 429; and the same without the
budget that they share.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from anytune import cli
from tests.stubs._process import Served, served

SUBMITS, WATCHERS, MINUTE = 10, 2, 60.0
KEY = "sk-stub-0123456789abcdef"
RUNS = (
    ("budget of 60 a minute, 60 allowed", 60, 1.0, 150.0),
    ("budget of 120 a minute, 30 allowed", 30, 2.0, 240.0),
    ("nothing shared, 30 allowed", 30, None, 240.0),
)


def run(name: str, *, most: int, rate: float | None, seconds: float) -> str:
    """Start all at once, count for so long, and say what came of it."""
    with tempfile.TemporaryDirectory() as folder, served("tests.stubs.metered", state=Path(folder) / "far") as far:
        laid_out(Path(folder), far, rate)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            cli.call(["submit", "job99.yaml", "-y"])  # what it imports is there in those that are forked from now on
        far.set(most=most, served=[], looks=[])
        began = time.monotonic()
        watchers = [typed("watch", "--all") for _ in range(WATCHERS)]
        took = ended([typed("submit", f"job{number}.yaml", "-y") for number in range(SUBMITS)], began, seconds)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        for watcher in watchers:
            os.kill(watcher, signal.SIGKILL)
            os.waitpid(watcher, 0)
        return f"{name}: {said(far.census(), took, began, began + seconds)}"


def laid_out(folder: Path, far: Served, rate: float | None) -> None:
    """Write job files of different data, and go there."""
    os.chdir(folder)
    os.environ |= {"OPENAI_API_KEY": KEY, "ANYTUNE_HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder)}
    far.set(key=KEY)
    at = {"base_url": f"{far.origin}/v1", "rate": rate}
    (folder / "anytune.yaml").write_text(json.dumps({"profiles": {"openai": at}}))
    for number in (*range(SUBMITS), 99):
        asked = ({"role": "user", "content": f"{n} and {number}?"} for n in range(12))
        lines = [json.dumps({"messages": [one, {"role": "assistant", "content": "!"}]}) for one in asked]
        (folder / f"train{number}.jsonl").write_text("\n".join(lines) + "\n")
        job = f"name: job-{number}\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\n"
        (folder / f"job{number}.yaml").write_text(f"{job}data: {{train: train{number}.jsonl}}\n")


def typed(*line: str) -> int:
    """Begin a command in a process of its own."""
    child = os.fork()
    if not child:
        code = 70
        with suppress(BaseException), quiet():
            code = cli.call(list(line))
        os._exit(code)
    return child


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be said."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    yield


def ended(begun: list[int], began: float, seconds: float) -> list[float]:
    """Return after how many seconds each submit was through; what is not by the end is ended."""
    took, left = [], set(begun)
    while left and time.monotonic() - began < seconds:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in left:
            left.remove(child)
            took += [time.monotonic() - began] if status == 0 else []
        time.sleep(0.02)
    for child in left:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return took


def said(counted: dict[str, Any], took: list[float], began: float, until: float) -> str:
    """Say what the stand-in saw."""
    every = sorted([*counted["served"], *counted["refused"]])
    busiest = max(sum(start <= at < start + MINUTE for at in every) for start in every)
    apart = max(later - earlier for earlier, later in pairwise([began, *counted["looks"], until]))
    return (
        f"busiest minute {busiest} calls, {len(counted['refused'])} of {len(every)} refused; {len(took)} submits "
        f"through after {min(took, default=0):.0f} to {max(took, default=0):.0f} s; "
        f"{len(counted['looks'])} looks of the watchers, at most {apart:.0f} s apart"
    )


def main() -> None:
    """Print one line a run."""
    print(f"{SUBMITS} submits and {WATCHERS} watchers at once", flush=True)
    for name, most, rate, seconds in RUNS:
        print(run(name, most=most, rate=rate, seconds=seconds), flush=True)


if __name__ == "__main__":
    main()
