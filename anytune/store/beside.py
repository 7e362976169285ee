"""What stands beside a job, written in the transaction that changes it: its summary, what it counts for, its news.

The statements are those of both databases, with `?` for a value; `run` is one database's way to run them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol

from anytune.schema.job import Event, Job, News, Summary
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


def add_events(run: Run, job_id: str, events: Sequence[Event]) -> list[Event]:
    """Write the events that are not there yet, and return those."""
    known, fresh = set(event_ids(run, job_id)), []
    for event in events:
        if (event_id := _text(event.id)) not in known:
            known.add(event_id)
            values = (job_id, event_id, len(known), event.model_dump_json())
            run("INSERT INTO events (job_id, id, position, body) VALUES (?, ?, ?, ?)", values)
            fresh.append(event)
    return fresh


def event_ids(run: Run, job_id: str) -> frozenset[str]:
    """Return the ids of a job's events."""
    return frozenset(event_id for (event_id,) in run("SELECT id FROM events WHERE job_id = ?", (job_id,)))


def ended(run: Run, job: Job) -> None:
    """Note that a job has ended: for those who are to be told, and that its last events are still to be had."""
    announce(run, job, str(job.state), Summary.of(job).model_dump_json(), at=job.updated_at)
    if job.remote is not None:
        run(
            "INSERT INTO ends (job_id, heard) VALUES (?, 0) ON CONFLICT (job_id) DO UPDATE SET heard = excluded.heard",
            (job.id,),
        )


def announce(run: Run, job: Job, what: str, body: str, *, at: datetime) -> None:
    """Note what those who are to be told are to be told; a job that ends a second time is other news."""
    names = (f"{job.id}-{what}" + (f"-{number}" if number > 1 else "") for number in count(1))
    free = next(name for name in names if not run("SELECT 1 FROM news WHERE id = ?", (name,)))
    values = (free, job.id, what, _at(at), body)
    run("INSERT INTO news (id, job_id, what, at, body) VALUES (?, ?, ?, ?, ?)", values)


def untold(run: Run, whom: str, since: datetime) -> list[News]:
    """Return what one was not told of, oldest first."""
    rows = run(
        "SELECT n.id, n.job_id, n.what, n.at, n.body FROM news n LEFT JOIN told t ON t.news = n.id AND t.whom = ? "
        "WHERE n.at >= ? AND t.news IS NULL ORDER BY n.at, n.id",
        (whom, _at(since)),
    )
    return [News(id=id, job_id=job_id, what=what, at=at, body=body) for id, job_id, what, at, body in rows]


def told(run: Run, news: str, whom: str) -> None:
    """Note that one was told."""
    run("INSERT INTO told (news, whom) VALUES (?, ?) ON CONFLICT DO NOTHING", (news, whom))


def heard(run: Run, job_id: str) -> None:
    """Note that a job's last events are there."""
    run("UPDATE ends SET heard = 1 WHERE job_id = ? AND heard = 0", (job_id,))


def unheard(run: Run) -> frozenset[str]:
    """Return the jobs that ended and whose last events are not there."""
    return frozenset(job_id for (job_id,) in run("SELECT job_id FROM ends WHERE heard = 0"))


def _text(text: str) -> str:
    """Return a text without what a text of PostgreSQL cannot hold."""
    return text.replace("\0", "\ufffd")


def _at(time: datetime) -> str:
    """Write a time so that texts go in the order of times."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
