"""A submit to this machine, killed with -9 between any two steps, leaves one job and one run, and loses neither."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from anytune import jobs
from anytune.config import Settings
from anytune.schema.job import Job, JobState
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.local.conftest import end_workers
from tests.test_crash import MOST_STEPS, Dying

BASE = Path(__file__).parents[2] / "fixtures" / "tiny-base"


def tuner(folder: Path) -> Tuner:
    return Tuner(settings=Settings(home=folder / "home"), environment={}, clock=FakeClock())


def submit(folder: Path, here: Tuner, desk: jobs.Desk) -> Job:
    return jobs.submit(here.plan(here.read(folder / "finetune.yaml")), desk=desk)


def submit_and_die(folder: Path, *, at: int) -> bool:
    """Submit in a forked child that kills itself at its step `at`; tell whether it got that far."""
    child = os.fork()
    if child == 0:
        steps = iter(range(MOST_STEPS))

        def step() -> None:
            if next(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            here = tuner(folder)
            provider = Dying(here.provider("local"), step, ("upload", "create", "find"))
            store = Dying(here.store, step, ("add", "put"))
            submit(folder, here, jobs.Desk(store=store, provider=lambda _: provider, clock=FakeClock()))  # type: ignore[arg-type, return-value]
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.local
def test_killed_between_any_two_steps_of_submit_there_is_one_job_and_one_run(tmp_path: Path) -> None:
    deaths = 0
    for at in range(MOST_STEPS):
        folder = tmp_path / str(at)
        folder.mkdir()
        sample_file(folder)
        (folder / "finetune.yaml").write_text(
            f"name: sums\nprovider: local\nmodel: {BASE}\ndata: {{train: train.jsonl}}\ntraining: {{epochs: 1}}\n"
        )
        died = submit_and_die(folder, at=at)
        here = tuner(folder)
        job = submit(folder, here, here.desk)
        assert job.remote is not None
        assert job.state not in {JobState.SUBMITTING, JobState.FAILED}
        assert len(here.store.list()) == 1
        end_workers(folder / "home")
        assert len(list((folder / "home" / "runs").iterdir())) == 1
        deaths += died
        if not died:
            break
    assert deaths >= 8
