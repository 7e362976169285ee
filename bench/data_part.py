"""Measure two parts of the check on their own for bench/data.py: the estimate of tokens, the scan for private values.

Each runs in a fresh process that times itself. A part that is missing, or whose library is, is passed over and named.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from data_process import Process, spend

# What an estimate adds to a check: the import, the vocabulary and the counting, but not the draw of the sample.
ESTIMATE = """
import json, sys, time
from random import Random
import anytune.data.check
with open(sys.argv[1], "rb") as stream:
    lines = stream.readlines()
sample = Random(7).sample(lines, 1_000)
records, held = len(lines), sum(map(len, lines))
del lines
started = time.process_time()
from anytune.data.tokens import Drawn, counter_for, estimate
counter = counter_for("openai", "gpt-4.1-nano")
found = estimate(Drawn(sample), records=records, content_bytes=held, messages=4 * records, counter=counter)
print(json.dumps({"cpu": time.process_time() - started, "bytes": held, "note": found.basis}))
"""
SCAN = """
import json, sys, time
from anytune.data.privacy import scan
started = time.process_time()
report = scan(sys.argv[1], engine=sys.argv[2])
cpu = time.process_time() - started
assert report.counts, "nothing is found"
counts = ", ".join(f"{number:,} {kind}" for kind, number in report.counts.items())
print(json.dumps({"cpu": cpu, "bytes": report.bytes, "note": counts}))
"""


class Part(NamedTuple):
    """Say what a part took at least: CPU seconds, how many bytes it stands for, and what it says about itself."""

    name: str
    cpu: float
    bytes: int
    note: str

    @property
    def rate(self) -> float:
        """Return the MB a CPU second."""
        return self.bytes / 1e6 / self.cpu


def measure(files: dict[str, Path], environment: dict[str, str], *, rounds: int) -> dict[str, Part]:
    """Return the parts that could be measured, by name, interleaved like all else."""
    commands = {
        "token estimate": (ESTIMATE, files["clean"], ()),
        "privacy scan, core": (SCAN, files["private"], ("core",)),
        "privacy scan, re2": (SCAN, files["private"], ("re2",)),
    }
    found: dict[str, Part] = {}
    for _ in range(rounds):
        for name, (script, path, rest) in commands.items():
            command = [sys.executable, "-c", script, str(path), *rest]
            run = spend(Process(name, command, environment, (0, 1)))
            if not run.printed:
                print(f"{name} is passed over: {run.said}", file=sys.stderr)
                continue
            part = Part(name, **json.loads(run.printed))
            found[name] = min(part, found.get(name, part), key=lambda one: one.cpu)
    return found
