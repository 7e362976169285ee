"""Many jobs through hours and an outage: few calls, no storm, every end noticed. `bench/jobs.py --watch` has a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import live_through


@pytest.mark.long
def test_three_hundred_jobs_are_watched_within_the_budget_through_an_outage(tmp_path: Path) -> None:
    figures = live_through(tmp_path, jobs=300, hours=1)
    assert figures.left == 0
    assert figures.worst_lag() <= figures.interval + 1
    for name in figures.calls:
        assert figures.per_job_and_hour(name) <= 50 / 6
        assert figures.peak_after(name) <= 2 * figures.peak_before(name)
