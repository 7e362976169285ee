"""A simulated day of many live jobs that one process watches, held against its goals; `bench/jobs.py` lives it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.place import Places

BENCH = Path(__file__).parents[2] / "bench" / "jobs.py"
JOBS = 10_000
CALLS = 50 / 6  # for a job in an hour, at most: 50 in six
PEAK = 2  # times the calls a minute of before an outage that there may be after it
MEGABYTES = 150


@dataclass
class Tally:
    """Count what happened; `missed` are the goals that were."""

    hours: float = 0
    noticed: int = 0
    worst_lag_s: float = 0
    peak_mb: int = 0
    calls_per_job_and_hour: dict[str, float] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether every goal was reached."""
        return not self.missed


def run(places: Places, *, rounds: int, seed: int) -> Tally:
    """Live through so many hours; the far sides have a seed of their own."""
    del places, seed
    command = [sys.executable, str(BENCH), "--watch", "--jobs", str(JOBS), "--hours", str(rounds), "--json"]
    seen = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    tally = Tally(
        hours=seen["hours"],
        noticed=seen["ends_noticed"],
        worst_lag_s=seen["worst_lag_s"],
        peak_mb=seen["peak_mb"],
        calls_per_job_and_hour=seen["calls_per_job_and_hour"],
    )
    goals = {
        "every end noticed": seen["ends_missed"] == 0,
        "within one interval": seen["worst_lag_s"] <= seen["interval_s"],
        f"{MEGABYTES} MB": seen["peak_mb"] <= MEGABYTES,
        f"{CALLS:.1f} calls a job and hour": max(tally.calls_per_job_and_hour.values()) <= CALLS,
        "no storm after the outage": all(
            after <= PEAK * before for before, after in seen["peak_calls_a_minute"].values()
        ),
    }
    tally.missed = [goal for goal, reached in goals.items() if not reached]
    return tally
