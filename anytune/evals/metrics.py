"""Tell whether an answer is right: a metric takes the wanted and the given answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from anytune.errors import UsageError
from anytune.schema.spec import Evaluation

Metric = Callable[[str, str], bool]
STEPS = 200_000  # SQLite virtual-machine steps between two looks at the limit
MOST_LOOKS = 50
LONGEST_VALUE = 1_000_000  # bytes of one value that a query makes
MOST_SHOWN = 50_000_000  # characters of all rows, as they are compared


def metrics(spec: Evaluation) -> dict[str, Metric]:
    """Return the metrics by name; raise `UsageError` when the database cannot be built."""
    made: dict[str, Metric] = {}
    for name in spec.metrics:
        made[name] = exact_match if name == "exact_match" else same_rows(_script(spec.database), spec.database)
    return made


def exact_match(expected: str, given: str) -> bool:
    """Compare the texts, white space folded at the ends and between words."""
    return " ".join(expected.split()) == " ".join(given.split())


def same_rows(script: str, named: object) -> Metric:
    """Return the metric that runs two queries on the tables that a script builds, and compares what they give.

    `named` names the script in the `UsageError` for one that cannot be run.
    """
    database = _built(script, named)

    def same(expected: str, given: str) -> bool:
        wanted = _rows(database, expected)
        got = _rows(database, given)
        ordered = "order by" in expected.lower()
        if wanted is None or got is None:
            return False
        return wanted == got if ordered else sorted(wanted) == sorted(got)

    return same


def _script(path: Path | None) -> str:
    if path is None or not path.is_file():
        raise UsageError(f"sql_execution: no such file: {path}", fix="evaluation.database names a file of SQL")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be run: {error}") from error


def _built(script: str, named: object) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(script)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise UsageError(f"{named}: cannot be run: {error}") from error
    database.set_authorizer(_only_reads)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    return database


def _only_reads(action: int, *_: object) -> int:
    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    return sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY


def _rows(database: sqlite3.Connection, query: str) -> list[str] | None:
    """Run one query that a model wrote: it can only read, and neither long nor much; None if it gives no table."""
    shown: list[str] = []
    room = MOST_SHOWN
    looks = 0

    def too_long() -> bool:
        nonlocal looks
        looks += 1
        return looks > MOST_LOOKS

    database.set_progress_handler(too_long, STEPS)
    try:
        cursor = database.execute(query)
        if cursor.description is None:
            return None
        for row in cursor:
            shown.append(repr(row))
            room -= len(shown[-1])
            if room < 0:
                return None
        return shown
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return None
    finally:
        database.set_progress_handler(None, 0)
