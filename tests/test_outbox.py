"""News wait in the record until they were told: at least once, by one process at a time, and not when they are old."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from anytune.errors import StoreError
from anytune.outbox import STALE, Outbox
from anytune.schema.job import JobState
from anytune.store import SqliteStore
from anytune.testing import sample_job
from anytune.testing.store import START

SOON = START + timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "record")


def ended(store: SqliteStore, job_id: str = "sample-0123456789", *, minute: int = 1, attempt: int = 1) -> str:
    job = store.add(sample_job(job_id, attempt=attempt))
    at = START + timedelta(minutes=minute)
    store.put(job.model_copy(update={"state": JobState.FAILED, "updated_at": at}), ended=True)
    return f"{job_id}-failed"


def opened(home: Path, *ways: str, minute: int = 0) -> Outbox:
    outbox = Outbox(home)
    outbox.open(ways or ("command",), START + timedelta(minutes=minute))
    return outbox


def due(outbox: Outbox, store: SqliteStore, *ways: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.news.id, each.ways) for each in outbox.due(store, ways or ("command",), SOON)]


def test_what_was_not_told_to_its_end_is_due_again_and_each_way_by_itself(tmp_path: Path, store: SqliteStore) -> None:
    outbox, news = opened(tmp_path, "command", "webhook"), ended(store)
    (first,) = outbox.due(store, ("command", "webhook"), SOON)
    with pytest.raises(ZeroDivisionError), outbox.taken(first, store) as ways:
        assert ways == ("command", "webhook")
        outbox.told(first.news, "command", store)
        raise ZeroDivisionError
    assert due(opened(tmp_path, "command", "webhook"), store, "command", "webhook") == [(news, ("webhook",))]
    with outbox.taken(first, store) as ways:
        assert ways == ("webhook",)
        outbox.told(first.news, "webhook", store)
    assert due(outbox, store, "command", "webhook") == []
    with outbox.taken(first, store) as ways:
        assert ways == ()
    assert [path.name for path in (tmp_path / "notified").iterdir()] == ["ways.json"]


def test_while_one_tells_it_no_other_does(tmp_path: Path, store: SqliteStore) -> None:
    outbox, another = opened(tmp_path), opened(tmp_path)
    ended(store)
    (first,) = outbox.due(store, ("command",), SOON)
    with outbox.taken(first, store) as ways, another.taken(first, store) as others:
        assert (ways, others) == (("command",), ())


def test_a_way_is_told_what_comes_after_it_was_named_and_nothing_older_than_a_week(
    tmp_path: Path, store: SqliteStore
) -> None:
    ended(store, minute=1)
    assert due(opened(tmp_path, minute=2), store) == []
    later = ended(store, "sample-bbbbbbbbbb", minute=3, attempt=2)
    both = opened(tmp_path, "command", "webhook", minute=5)
    assert due(both, store, "command", "webhook") == [(later, ("command",))]
    assert both.due(store, ("command",), START + timedelta(minutes=4) + STALE) == []
    Outbox(tmp_path).open((), SOON)
    assert due(opened(tmp_path, minute=6), store) == [], "it was taken out of the settings for a while"


def test_a_clock_that_was_a_year_ahead_once_silences_nobody(tmp_path: Path, store: SqliteStore) -> None:
    Outbox(tmp_path).open(("command",), START + timedelta(days=365))
    outbox = opened(tmp_path)
    assert due(outbox, store) == []
    news = ended(store, minute=1)
    assert due(outbox, store) == [(news, ("command",))]


def test_another_home_that_shares_the_record_is_told_for_itself(tmp_path: Path, store: SqliteStore) -> None:
    one, two, news = opened(tmp_path / "one"), opened(tmp_path / "two"), ended(store)
    (first,) = one.due(store, ("command",), SOON)
    one.told(first.news, "command", store)
    assert due(one, store) == []
    assert due(two, store) == [(news, ("command",))]


@pytest.mark.parametrize("left", ["", "[]", "{", json.dumps({"whom": "me", "since": {"command": "yesterday"}})])
def test_a_note_that_makes_no_sense_is_begun_anew(tmp_path: Path, store: SqliteStore, left: str) -> None:
    (tmp_path / "notified").mkdir()
    (tmp_path / "notified" / "ways.json").write_text(left)
    outbox, news = opened(tmp_path), ended(store)
    assert due(outbox, store) == [(news, ("command",))]


def test_where_nobody_is_to_be_told_nothing_is_written(tmp_path: Path) -> None:
    Outbox(tmp_path).open((), START)
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "notified").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="cannot write in"):
        opened(tmp_path)
