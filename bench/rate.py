"""Ten submits and two watchers at once against a stand-in that counts calls by the minute: `python bench/rate.py`.

Three runs, each with processes as a user would start them: within a budget that the provider allows; with a provider
that allows less than anybody knew, so that it answers 429; and the same without the budget that they share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stubs._call import Call, Refuse, Reply
from tests.stubs.openai import OpenAIStub

SUBMITS, WATCHERS, MINUTE = 10, 2, 60.0
ENDLESS = ("validating_files", "queued", *("running",) * 10_000)


class Metered(OpenAIStub):
    """Allow so many calls in any minute, and answer 429 with Retry-After above."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.life = most, ENDLESS
        self.served: list[float] = []
        self.refused: list[float] = []

    def answer(self, call: Call) -> Reply:
        now = time.monotonic()
        recent = [at for at in self.served if at > now - MINUTE]
        if len(recent) >= self.most:
            self.refused.append(now)
            wait = max(1, round(recent[-self.most] + MINUTE - now))
            said = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
            raise Refuse(Reply(429, said, {"Retry-After": str(wait)}))
        self.served.append(now)
        return super().answer(call)


@dataclass
class Result:
    """Be what one run came to."""

    busiest: int = 0
    refused: int = 0
    calls: int = 0
    submits: list[float] = field(default_factory=list)
    failed: int = 0
    looks: int = 0
    longest_between_looks: float = 0.0


def run(*, most: int, rate: float, seconds: float) -> Result:
    """Start all at once and count for so long."""
    with tempfile.TemporaryDirectory() as folder, Metered(most) as far:
        work = Path(folder)
        environment = {
            **os.environ,
            "OPENAI_API_KEY": far.key,
            "ANYTUNE_HOME": str(work / "home"),
            "XDG_CONFIG_HOME": str(work),
        }
        (work / "anytune.yaml").write_text(
            json.dumps({"profiles": {"openai": {"base_url": far.base_url, "rate": rate}}})
        )
        _submit(work, 99, environment).wait()
        far.served.clear()
        far.journal.clear()
        watchers = [_typed(work, environment, "watch", "--all") for _ in range(WATCHERS)]
        began = time.monotonic()
        begun = [_submit(work, number, environment) for number in range(SUBMITS)]
        took = _ended(begun, began, seconds)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        for process in [*watchers, *begun]:
            process.kill()
            process.wait()
        return _counted(far, took, began)


def _submit(work: Path, number: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    line = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
    texts = []
    for n in range(12):
        line["messages"][0]["content"] = f"What is {n} plus {number}?"
        texts.append(json.dumps(line))
    (work / f"train{number}.jsonl").write_text("\n".join(texts) + "\n")
    job = f"name: job-{number}\nprovider: openai\nmodel: gpt-4.1-mini-2025-04-14\n"
    (work / f"job{number}.yaml").write_text(f"{job}data: {{train: train{number}.jsonl}}\n")
    return _typed(work, environment, "submit", f"job{number}.yaml", "-y")


def _typed(work: Path, environment: dict[str, str], *line: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "anytune", *line],
        cwd=work,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ended(begun: list[subprocess.Popen[bytes]], began: float, seconds: float) -> list[float]:
    """Return after how many seconds each submit was through."""
    took: dict[int, float] = {}
    while len(took) < len(begun) and time.monotonic() - began < seconds:
        for number, process in enumerate(begun):
            if number not in took and process.poll() == 0:
                took[number] = time.monotonic() - began
        time.sleep(0.05)
    return list(took.values())


def _counted(far: Metered, took: list[float], began: float) -> Result:
    every = sorted([*far.served, *far.refused])
    looks = [at for at, call in zip(far.served, _served_calls(far), strict=False) if _is_look(call)]
    between = [later - earlier for earlier, later in zip([began, *looks], looks, strict=False)]
    return Result(
        busiest=max(sum(start <= at < start + MINUTE for at in every) for start in every),
        refused=len(far.refused),
        calls=len(every),
        submits=took,
        failed=SUBMITS - len(took),
        looks=len(looks),
        longest_between_looks=max(between, default=float("nan")),
    )


def _served_calls(far: Metered) -> list[Any]:
    return [call for call in far.journal if call.status != 429]


def _is_look(call: Any) -> bool:
    return call.method == "GET" and call.path.endswith("/fine_tuning/jobs") and "metadata" not in str(call.query)


def main() -> None:
    """Print one line a run."""
    print(f"{SUBMITS} submits and {WATCHERS} watchers at once")
    for name, most, rate, seconds in (
        ("budget 60 a minute, 60 allowed", 60, 1.0, 120.0),
        ("budget 120 a minute, 30 allowed", 30, 2.0, 300.0),
        ("no budget, 30 allowed", 30, 1000.0, 300.0),
    ):
        got = run(most=most, rate=rate, seconds=seconds)
        print(
            f"{name}: busiest minute {got.busiest} calls, {got.refused} of {got.calls} refused; "
            f"submits through after {min(got.submits, default=0):.0f} to {max(got.submits, default=0):.0f} s, "
            f"{got.failed} not; {got.looks} looks, at most {got.longest_between_looks:.0f} s apart",
            flush=True,
        )


if __name__ == "__main__":
    main()
