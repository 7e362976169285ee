"""What stands beside a job, written in the transaction that changes it: its summary, and what it counts for.

The statements are those of both databases, with `?` for a value; `run` is one database's way to run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from anytune.schema.job import Job, Summary
from anytune.schema.money import Charge
from anytune.store import row


class Run(Protocol):
    """Run a statement in the transaction that is open."""

    def __call__(self, statement: str, values: Sequence[Any] = ..., /) -> list[Any]:
        """Return the rows, none where there is nothing to be found."""
        ...


def summarize(run: Run, job: Job) -> None:
    """Write what a list shows of a job."""
    run(
        "INSERT INTO summaries (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (job.id, Summary.of(job).model_dump_json()),
    )


def charge(run: Run, job: Job) -> None:
    """Write what a job counts for, where that is other than before: most changes of a job leave it alone."""
    told = row.charge_rows(job)
    known = "SELECT job_id, number, month, body FROM charges WHERE job_id = ? ORDER BY number"
    if told and told != run(known, (job.id,)):
        for values in told:
            run(
                "INSERT INTO charges (job_id, number, month, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (job_id, number) DO UPDATE SET month = excluded.month, body = excluded.body",
                values,
            )


def charges(run: Run, month: str) -> list[Charge]:
    """Return what counts for a month, job by job."""
    rows = run("SELECT body FROM charges WHERE month = ? ORDER BY job_id, number", (month,))
    return [Charge.model_validate_json(body) for (body,) in rows]
