"""How quickly the command line answers: CPU seconds of whole processes, the variants interleaved in one run.

    python bench/startup.py [--rounds 9] [--trl PATH/TO/trl] [--json]

Goals: `anytune --help` at most 0.15 s of CPU beyond bare Python and at most 1.5 times `trl --help`; `plan --all` at
most 0.6 s of wall-clock time; `check` of 100 chats at most 0.25 s in all. Medians and the least are quoted; machines
are noisy, so trust ratios of one run: the last column has the median of CPU seconds over those of the bare Python that
ran beside. Compiled files are used, as in an installed wheel: the first round, which does not count, makes them.
No key is set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHATS = 100
JOB = ROOT / "examples" / "english-to-sql" / "finetune.yaml"


def main() -> None:
    """Time all variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--trl", help="the trl command of an environment that has TRL")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    anytune = str(Path(sys.executable).with_name("anytune"))
    variants = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "anytune --help": [anytune, "--help"],
        "anytune plan --all": [anytune, "plan", str(JOB), "--all"],
        "anytune check train.jsonl": [anytune, "check", str(JOB.parent / "train.jsonl")],
    }
    if given.trl:
        variants["trl --help"] = [given.trl, "--help"]
    with tempfile.TemporaryDirectory() as home:
        variants["anytune check small.jsonl"] = [anytune, "check", str(small(Path(home)))]
        figures = measure(variants, rounds=given.rounds, home=home)
    print(json.dumps(figures, indent=1) if given.json else table(figures))


def small(folder: Path) -> Path:
    """Write a file of 100 chats."""
    path = folder / "small.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(CHATS):
            turns = {"user": f"How many boats lie in berth {number}?", "assistant": f"{number * 7} boats lie there."}
            messages = [{"role": role, "content": content} for role, content in turns.items()]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def measure(variants: dict[str, list[str]], *, rounds: int, home: str) -> dict[str, dict[str, float]]:
    """Return CPU (median and least) and wall seconds of each variant; the first round warms up and does not count."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, command in variants.items():
            once = spend(command, home=home)
            if number:
                seen[name].append(once)
    bare = [cpu for cpu, _ in seen["python -c pass"]]
    return {
        name: {
            "cpu": statistics.median(c for c, _ in runs),
            "least": min(c for c, _ in runs),
            "wall": statistics.median(w for _, w in runs),
            "beyond_bare": statistics.median(c - b for (c, _), b in zip(runs, bare, strict=True)),
            "times_bare": statistics.median(c / b for (c, _), b in zip(runs, bare, strict=True)),
        }
        for name, runs in seen.items()
    }


def spend(command: list[str], *, home: str) -> tuple[float, float]:
    """Run once and return the CPU and wall seconds of the process and its children."""
    started = time.perf_counter()
    keyless = {name: "" for name in os.environ if name.endswith("_API_KEY")}
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{home}/compiled"}
    environment = {**os.environ, **keyless, **compiled, "ANYTUNE_HOME": f"{home}/anytune"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def table(figures: dict[str, dict[str, float]]) -> str:
    """Lay the figures out as Markdown."""
    lines = [
        "| process | CPU s | least | beyond bare Python | wall s | times bare Python |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {row['cpu']:.3f} | {row['least']:.3f} | {row['beyond_bare']:.3f} | {row['wall']:.3f} |"
        f" {row['times_bare']:.1f} |"
        for name, row in figures.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
