"""The long campaigns, some dozen rounds of each; `make soak` runs them by the hundred. Each must notice a bad store."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from anytune.schema.job import Job
from anytune.store import JobStore, SqliteStore
from tests.soak import crowd, kills
from tests.soak.place import InFile, Place, Places

pytestmark = pytest.mark.engine


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    return Places(tmp_path, request.getfixturevalue("server") if request.param == "postgres" else None)


def test_a_crowd_on_one_record_does_nothing_twice(where: Places) -> None:
    tally = crowd.run(where, rounds=15, seed=1, sizes=(2, 4, 8))
    assert tally.rounds == 15
    assert tally.acts >= 30
    assert tally.good, tally


def test_killed_at_any_instant_of_writing_nothing_acknowledged_is_lost(where: Places) -> None:
    tally = kills.writes(where, rounds=20, seed=1)
    assert tally.within + tally.acknowledged > 0
    assert tally.good, tally


def test_killed_at_any_instant_of_a_migration_the_record_is_taken_up_whole_the_next_time(where: Places) -> None:
    tally = kills.migrations(where, rounds=12, seed=1)
    assert tally.within > 0
    assert tally.good, tally


class Lawless(SqliteStore):
    """Let everybody act."""

    def acting(self, job_id: str) -> AbstractContextManager[None]:
        return nullcontext()


class Forgetful(SqliteStore):
    """Acknowledge changes that are not written."""

    def put(self, job: Job) -> None:
        pass


class Bad(Places):
    def __init__(self, folder: Path, kind: type[SqliteStore]) -> None:
        super().__init__(folder)
        self._kind = kind

    def new(self) -> Place:
        home, kind = self.folder / f"bad{len(list(self.folder.iterdir()))}", self._kind

        class There(InFile):
            def open(self) -> JobStore:
                return kind(home, busy_seconds=60)

        return There(home)


def test_the_crowd_would_notice_a_store_that_lets_everybody_act(tmp_path: Path) -> None:
    assert crowd.run(Bad(tmp_path, Lawless), rounds=5, seed=1, sizes=(6,)).double > 0


def test_the_kills_would_notice_a_store_that_forgets(tmp_path: Path) -> None:
    tally = kills.writes(Bad(tmp_path, Forgetful), rounds=8, seed=1)
    assert any("put of" in fault for fault in tally.faults)
