"""A process killed with -9 between any two steps of a submit loses no job, makes none twice, and uploads little twice.

The stand-ins run as processes of their own and live on; the child that submits kills itself at its n-th step, and the
next command, in the test's own process, finishes the work.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune import jobs
from anytune.config import ProfileSettings, Settings
from anytune.schema.cluster import Cluster
from anytune.schema.job import JobState
from anytune.schema.plan import Plan
from anytune.schema.trainer import Trainer
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from tests.stubs._process import Served, served
from tests.stubs.replicate import TRAINER, VERSION

pytestmark = pytest.mark.engine

MODELS = {
    "openai": "gpt-4.1-mini-2025-04-14",
    "together": "Qwen/Qwen3.5-9B",
    "fireworks": "qwen3p5-9b",
    "replicate": f"{TRAINER}:{VERSION}",
    "hf-jobs": "acme/tiny-chat",
    "ray": "acme/tiny-chat",
}
CREATES = {
    "openai": "/v1/fine_tuning/jobs",
    "together": "/v1/fine-tunes",
    "fireworks": "/v1/accounts/stub-account/supervisedFineTuningJobs",
    "replicate": f"/v1/models/{TRAINER}/versions/{VERSION}/trainings",
    "hf-jobs": "/api/jobs/stub-user",
    "ray": "/api/jobs/",
}
UPLOADS = {
    "openai": "/v1/files",
    "together": "/storage/",
    "fireworks": "/storage/",
    "replicate": "/v1/files",
    "hf-jobs": "/commit/",
    "ray": "/api/packages/",
}
BASES = {"openai": "/v1"}
TRAINERS = {TRAINER: Trainer(data="train_data", fields={"training.epochs": "num_train_epochs"})}
MOST_STEPS = 60


@pytest.fixture(params=["openai", "together", "fireworks", "replicate", "hf-jobs", "ray"])
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return str(request.param)


@pytest.fixture
def far_side(name: str, tmp_path: Path) -> Iterator[Served]:
    with served(f"tests.stubs.{'hub' if name == 'hf-jobs' else name}", state=tmp_path / "far") as running:
        yield running


class Dying:
    """Stand before a store or provider and kill this process before or after its n-th act."""

    def __init__(self, inner: Any, step: Callable[[], None], acts: tuple[str, ...]) -> None:
        self._inner, self._step, self._acts = inner, step, acts

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in self._acts:
            return attribute

        def act(*args: Any, **options: Any) -> Any:
            self._step()
            result = attribute(*args, **options)
            self._step()
            return result

        return act


def tuner(home: Path, name: str, far_side: Served) -> Tuner:
    (home.parent / "depot").mkdir(exist_ok=True)
    profile = ProfileSettings(
        base_url=far_side.origin + BASES.get(name, ""),
        timeout=20,
        trainers=TRAINERS,
        cluster=Cluster(folder=str(home.parent / "depot")),
    )
    key = {
        "OPENAI_API_KEY": "sk-stub-0123456789abcdef",
        "TOGETHER_API_KEY": "tgp-stub-0123456789abcdef",
        "FIREWORKS_API_KEY": "fw-stub-0123456789abcdef",
        "REPLICATE_API_TOKEN": "r8_stub0123456789abcdef",
        "HF_TOKEN": "hf_stubstubstubstubstubstub",
        "RAY_AUTH_TOKEN": "ray-stub-0123456789abcdef",
    }
    return Tuner(settings=Settings(home=home, profiles={name: profile}), environment=key, clock=FakeClock())


def plan(tuner: Tuner, folder: Path, name: str) -> Plan:
    sample_file(folder)
    job = folder / "finetune.yaml"
    job.write_text(f"name: tides\nprovider: {name}\nmodel: {MODELS[name]}\ndata: {{train: train.jsonl}}\n")
    made = tuner.plan(tuner.read(job))
    assert made.ok, made.refused
    return made


def submit_and_die(home: Path, folder: Path, name: str, far_side: Served, *, at: int) -> bool:
    """Submit in a forked child that dies at its step `at`; tell whether it died (and had not finished before)."""
    child = os.fork()
    if child == 0:
        steps = iter(range(MOST_STEPS))

        def step() -> None:
            if next(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            here = tuner(home, name, far_side)
            provider = Dying(here.provider(name), step, ("upload", "create", "find", "quote"))
            store = Dying(here.store, step, ("add", "put"))
            desk = jobs.Desk(store=store, provider=lambda _: provider, clock=FakeClock())  # type: ignore[arg-type, return-value]
            jobs.submit(plan(here, folder, name), desk=desk)
        except BaseException:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_killed_between_any_two_steps_of_submit_nothing_is_lost_or_doubled(
    name: str, far_side: Served, tmp_path: Path
) -> None:
    deaths = 0
    for at in range(MOST_STEPS):
        home, folder = tmp_path / f"home{at}", tmp_path / f"job{at}"
        folder.mkdir()
        died = submit_and_die(home, folder, name, far_side, at=at)
        here = tuner(home, name, far_side)
        job = here.submit(plan(here, folder, name))
        assert job.state is not JobState.SUBMITTING
        assert len(here.store.list()) == 1
        deaths += died
        if not died:
            break
    made = [call for call in far_side.journal() if call["method"] == "POST" and call["path"] == CREATES[name]]
    done = [call for call in made if 200 <= call["status"] < 300]
    assert deaths >= 8
    assert len(done) == deaths + 1, f"{len(done)} remote jobs for {deaths + 1} submits"


def test_ten_processes_submitting_one_job_make_one_and_name_the_same(
    name: str, far_side: Served, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    folder = tmp_path / "job"
    folder.mkdir()
    plan(tuner(home, name, far_side), folder, name)
    children = []
    for number in range(10):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                here = tuner(home, name, far_side)
                (tmp_path / f"said{number}").write_text(here.submit(here.plan(here.read(folder / "finetune.yaml"))).id)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert len({(tmp_path / f"said{number}").read_text() for number in range(10)}) == 1
    made = [c for c in far_side.journal() if c["method"] == "POST" and c["path"] == CREATES[name] and c["status"] < 300]
    assert len(made) == 1


def test_a_dropped_answer_to_create_gives_one_remote_job(name: str, far_side: Served, tmp_path: Path) -> None:
    far_side.order("drop_next", pattern=f"POST {CREATES[name]}", when="after")
    here = tuner(tmp_path / "home", name, far_side)
    job = here.submit(plan(here, tmp_path, name))
    assert job.remote is not None
    made = [c for c in far_side.journal() if c["method"] == "POST" and c["path"] == CREATES[name]]
    assert len(made) == 1
