"""The campaigns on whole lives of jobs, bounded; `make soak` runs them at length. Each must notice a bad engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from anytune.schema.job import JobState
from tests.providers._roots import one_root
from tests.soak import faults, fuzz, instants, tens
from tests.soak.place import Places
from tests.soak.work import OPENAI

pytestmark = pytest.mark.engine

MEMORY = Path("/dev/shm")  # where to sync a file costs nothing: what a disk does is looked at elsewhere
CELLS = 70  # of each provider


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    one_root(tmp_path, monkeypatch)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Places(Path(folder))


def test_killed_at_random_instants_of_its_whole_life_no_job_is_lost_or_made_twice(where: Places) -> None:
    tally = instants.run(where, rounds=16, seed=1)
    assert tally.kills >= 16
    assert tally.good, tally


def test_ten_processes_submit_one_file_at_once_and_get_one_answer(where: Places) -> None:
    tally = tens.run(where, rounds=2, seed=1)
    assert tally.answers == 20
    assert tally.good, tally


@pytest.mark.parametrize("provider", ["openai", "together", "fireworks"])
def test_each_fault_in_each_call_ends_in_the_right_state_or_a_right_error(where: Places, provider: str) -> None:
    tally = faults.run(where, rounds=CELLS, seed=1, only=lambda cell: cell[0].provider.name == provider)
    assert tally.cells == CELLS
    assert tally.good, "\n".join(tally.wrong)


def test_no_answer_that_can_be_made_up_ends_a_job_wrongly_or_breaks_out(where: Places) -> None:
    tally = fuzz.run(where, rounds=200, seed=1)
    assert tally.answers >= 200
    assert tally.ended > 0
    assert tally.good, tally


def test_the_grid_holds_every_fault_in_every_call_of_a_life() -> None:
    grid = faults.cells("http://127.0.0.1:1")
    assert len({fault.name for _, fault in grid}) >= 120
    assert len({scene.name for scene, _ in grid}) >= 30
    assert len({(scene.name, fault.name) for scene, fault in grid}) == len(grid)


def test_the_grid_would_notice_an_engine_that_does_not_look_before_it_creates_again(
    where: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("anytune.jobs.submit"), "adopted", lambda *_: None)
    tally = faults.run(where, rounds=None, seed=1, only=_is("openai create", "dropped after the work"))
    assert any("2 remote jobs" in wrong for wrong in tally.wrong), tally


def test_the_made_up_answers_would_notice_a_provider_that_believes_any_word(
    where: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anytune.providers.openai.answer.STATES", Credulous())
    tally = fuzz.run(where, rounds=300, seed=1, providers=(OPENAI,))
    assert any("ended as" in wrong for wrong in tally.wrong), tally


def test_the_kills_would_notice_a_job_too_many_and_one_too_few() -> None:
    tally = instants.Tally()
    instants.count({"jobs": [{"id": "ftjob-1"}], "files": ["a", "a"]}, [], tally)
    assert (tally.doubled, tally.extra) == (1, 1)
    assert not tally.good


class Credulous(dict[str, Any]):
    """Take every word for a failure."""

    def get(self, word: str, default: Any = None) -> Any:
        return JobState.FAILED if word != "validating_files" else default


def _is(scene: str, fault: str) -> Any:
    return lambda cell: (cell[0].name, cell[1].name) == (scene, fault)
