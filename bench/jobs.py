"""How quickly the record of jobs answers when it is large: whole processes of `anytune`, on a store made for it.

    python bench/jobs.py [--jobs 10000] [--rounds 5] [--json]
    python bench/jobs.py --watch [--jobs 10000] [--hours 24] [--json]

Goal: `anytune list --json` of 10,000 jobs in at most 1 s of wall-clock time, start of Python included. The jobs are
copies of a real plan of the demo's job file for OpenAI, Together and this machine, most of them ended. Medians and the
least are quoted; machines are noisy.

With `--watch`: as many live jobs, half at a provider whose list has pages of 100, half at one whose list is one page,
are watched by one process through a day of a clock that does not wait, with an outage of both of 15 % of it. Goals: at
most 50 calls a job in 6 hours, 150 MB (the far sides among them), a peak of calls a minute after the outage of at most
twice the one before, every end noticed within one interval.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from anytune import jobs
from anytune.config import Settings
from anytune.schema.job import Job, JobState, RemoteJob
from anytune.schema.plan import Plan
from anytune.store import SqliteStore
from anytune.tuner import Tuner

ROOT = Path(__file__).resolve().parent.parent
JOB = ROOT / "examples" / "english-to-sql" / "finetune.yaml"
START = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = (*[JobState.SUCCEEDED] * 8, JobState.FAILED, JobState.CANCELLED)
LIVE = (JobState.QUEUED, JobState.RUNNING)
PROVIDERS = ("openai", "together", "local")
TIMED = 100  # jobs that are written as the command line does, each synced
SHOWN = ("list --json", "list", "show last --json", "show job-05000 --json")


def main() -> None:
    """Make the store, time each command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.watch:
        watched_day(given.jobs, given.hours, as_json=given.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        written = fill(home, given.jobs)
        commands = [line for line in SHOWN if "05000" not in line or given.jobs > 5000]
        figures = {line: measure(line.split(), home, rounds=given.rounds) for line in commands}
        megabytes = sum(f.stat().st_size for f in home.rglob("*") if f.is_file()) / 1e6
    whole = {"jobs": given.jobs, "megabytes": round(megabytes, 1), "add_ms": round(written * 1000, 2), "runs": figures}
    print(json.dumps(whole, indent=1) if given.json else table(whole))


def watched_day(count: int, hours: float, *, as_json: bool) -> None:
    """Watch a simulated day and print what it came to."""
    from tests.fleet import live_through

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seen = live_through(Path(folder), jobs=count, hours=hours)
    whole = {
        "jobs": count,
        "hours": hours,
        "interval_s": round(seen.interval, 1),
        "worst_lag_s": round(seen.worst_lag(), 1),
        "ends_noticed": len(seen.lags),
        "ends_missed": seen.left,
        "calls_per_job_and_hour": {name: round(seen.per_job_and_hour(name), 2) for name in seen.calls},
        "peak_calls_a_minute": {name: [seen.peak_before(name), seen.peak_after(name)] for name in seen.calls},
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "took_s": round(time.perf_counter() - started),
        "cpu_s": round(time.process_time()),
    }
    print(json.dumps(whole, indent=1) if as_json else "\n".join(f"{name}: {value}" for name, value in whole.items()))


def fill(home: Path, count: int) -> float:
    """Write the jobs and return the seconds that one took."""
    store = SqliteStore(home)
    made = list(invented(home, count))
    started = time.perf_counter()
    for job in made[:TIMED]:
        store.add(job)
    took = time.perf_counter() - started
    store._db.execute("PRAGMA synchronous = OFF")  # the rest need not outlive anything
    for job in made[TIMED:]:
        store.add(job)
    return took / min(count, TIMED)


def invented(home: Path, count: int) -> Iterator[Job]:
    """Yield jobs of all states, every twentieth still live; those on this machine have all ended."""
    plans = [planned(home, name) for name in PROVIDERS]
    for number in range(count):
        plan = plans[number % len(plans)]
        local = plan.capabilities.local
        state = ENDS[number % 10] if number % 20 or local else LIVE[number % 40 // 20]
        name = f"job-{number:05d}"
        made = START + timedelta(minutes=40 * number)
        yield Job(
            id=f"{name}-{number:010x}",
            provider=plan.spec.provider,
            plan=plan.model_copy(update={"spec": plan.spec.model_copy(update={"name": name})}),
            state=state,
            created_at=made,
            updated_at=made + timedelta(hours=2),
            files={"train": f"file-{number:024x}"},
            creating=made,
            remote=remote(number, state, made),
            cost=None if local else Decimal("4.32"),
            error="the service stopped it: 2 of 960 examples were refused" if state is JobState.FAILED else None,
        )


def remote(number: int, state: JobState, made: datetime) -> RemoteJob:
    """Be a job as its provider told it last."""
    name = f"ft:gpt-4.1-mini-2025-04-14:acme:job-{number:05d}:{number:08x}"
    return RemoteJob(
        id=f"ftjob-{number:024x}",
        status=str(state),
        state=state,
        model=name if state is JobState.SUCCEEDED else None,
        created_at=made,
        finished_at=made + timedelta(hours=2) if state.is_terminal else None,
        trained_tokens=200_000 + number,
        training_file=f"file-{number:024x}",
    )


def planned(home: Path, provider: str) -> Plan:
    """Plan the demo's job file, as a submit would."""
    tuner = Tuner(settings=Settings(home=home), environment={}, clock=jobs.SystemClock())
    return tuner.plan(tuner.read(JOB, provider=provider))


def measure(arguments: list[str], home: Path, *, rounds: int) -> dict[str, float]:
    """Return CPU, wall seconds (median and least) and peak megabytes; the first round warms up and does not count."""
    runs = [spend([sys.executable, "-m", "anytune", *arguments], home) for _ in range(rounds + 1)][1:]
    cpu, wall, peak = zip(*runs, strict=True)
    return {"cpu": statistics.median(cpu), "wall": statistics.median(wall), "least": min(wall), "peak": max(peak)}


def spend(command: list[str], home: Path) -> tuple[float, float, float]:
    """Run once and return CPU seconds, wall seconds and peak megabytes of the process."""
    environment = {**os.environ, "ANYTUNE_HOME": str(home), "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": ""}
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}: {said}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1000


def table(whole: dict[str, object]) -> str:
    """Lay the figures out as Markdown."""
    lines = [f"{whole['jobs']:,} jobs, {whole['megabytes']} MB, {whole['add_ms']} ms to write one", ""]
    lines += ["| command | wall s | least | CPU s | peak MB |", "|---|---|---|---|---|"]
    figures: dict[str, dict[str, float]] = whole["runs"]  # type: ignore[assignment]
    lines += [
        f"| `anytune {name}` | {row['wall']:.2f} | {row['least']:.2f} | {row['cpu']:.2f} | {row['peak']:.0f} |"
        for name, row in figures.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
