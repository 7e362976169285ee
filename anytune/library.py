"""The functions that `import anytune` offers: each makes a `Tuner` with the settings of the current folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anytune.schema.data import DataReport
from anytune.schema.evals import EvalReport
from anytune.schema.job import Job
from anytune.schema.plan import Plan
from anytune.schema.spec import Method
from anytune.tuner import BUILT_IN, Tuner

__all__ = ["Tuner", "cancel", "check", "evaluate", "export", "plan", "refresh", "submit", "wait"]


def plan(job_file: Path | str, *, provider: str | None = None, changes: Sequence[str] = ()) -> Plan:
    """Decide what a job file would do at a provider: free, offline, without a key."""
    tuner = Tuner()
    return tuner.plan(tuner.read(job_file, changes=changes, provider=provider))


def check(path: Path | str, *, provider: str | None = None, method: Method = "sft") -> DataReport:
    """Check one data file for a provider (every built-in one if None)."""
    return Tuner().check([Path(path)], for_providers=(provider,) if provider else BUILT_IN, method=method)


def submit(plan: Plan, *, again: bool = False) -> Job:
    """Carry out a plan once; see `jobs.submit`."""
    return Tuner().submit(plan, again=again)


def wait(job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
    """Yield the job at each poll until it ends; raise `NotYetError` after `timeout` seconds."""
    return Tuner().wait(job_id, timeout=timeout)


def refresh(job_id: str) -> Job:
    """Ask the provider how a job stands."""
    return Tuner().refresh(job_id)


def cancel(job_id: str) -> Job:
    """Stop a job; harmless on one that has ended."""
    return Tuner().cancel(job_id)


def evaluate(job_id: str, *, test: Path | None = None, limit: int | None = None) -> EvalReport:
    """Compare base and tuned model on held-out questions."""
    return Tuner().evaluate(job_id, test=test, limit=limit)


def export(job_id: str, *, to: str, out: Path | str) -> dict[str, Any]:
    """Write a job's model as `adapter` or `merged` into a folder and return its manifest."""
    return Tuner().export(job_id, to=to, out=Path(out))
