"""One line moves a job from one provider to another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from anytune.config import ProfileSettings, Settings
from anytune.jobs import SystemClock
from anytune.schema.job import JobState
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
from anytune.ui import jobs as ui
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

ROOT = Path(__file__).resolve().parent.parent
JOB = """\
name: sums
provider: {provider}
models:
  local: {base}
  openai: gpt-4.1-mini-2025-04-14
  together: Qwen/Qwen3.5-9B
data: {{train: train.jsonl}}
training: {{epochs: 1, seed: 3, lora: {{rank: 8}}, learning_rate: 1.0e-3}}
overrides:
  openai: {{training: {{lora: auto, learning_rate: auto}}}}
"""


@pytest.fixture
def hosts() -> Iterator[dict[str, OpenAIStub | TogetherStub]]:
    with OpenAIStub() as openai, TogetherStub() as together:
        yield {"openai": openai, "together": together}


@pytest.fixture
def profiles(hosts: dict[str, OpenAIStub | TogetherStub]) -> dict[str, ProfileSettings]:
    return {name: ProfileSettings(base_url=stub.base_url) for name, stub in hosts.items()}


@pytest.mark.local
def test_the_provider_line_alone_moves_a_job_between_three_providers(
    tmp_path: Path, hosts: dict[str, OpenAIStub | TogetherStub], profiles: dict[str, ProfileSettings]
) -> None:
    sample_file(tmp_path)
    path = tmp_path / "finetune.yaml"
    keys = {f"{name.upper()}_API_KEY": stub.key for name, stub in hosts.items()}
    made = {}
    for name in ("openai", "together", "local"):
        path.write_text(JOB.format(provider=name, base=ROOT / "fixtures" / "tiny-base"))
        clock = SystemClock() if name == "local" else FakeClock()
        settings = Settings(home=tmp_path / "home", profiles=profiles)
        tuner = Tuner(settings=settings, environment=keys, clock=clock)
        plan = tuner.plan(tuner.read(path))
        assert plan.ok, plan.refused
        job = tuner.submit(plan)
        *_, job = tuner.wait(job.id, timeout=240)
        assert job.state is JobState.SUCCEEDED, job.error
        made[name] = tuner.model(job.id)
    assert made["openai"].name.startswith("ft:gpt-4.1-mini-2025-04-14")
    assert made["together"].name
    assert (Path(str(made["local"].path)) / "adapter_model.safetensors").is_file()
    assert {job.provider for job in tuner.store.list()} == {"openai", "together", "local"}


@pytest.mark.parametrize("name", ["openai", "together"])
def test_a_job_that_another_machine_made_is_taken_in_with_its_base_model(
    tmp_path: Path, hosts: dict[str, OpenAIStub | TogetherStub], profiles: dict[str, ProfileSettings], name: str
) -> None:
    sample_file(tmp_path)
    path = tmp_path / "finetune.yaml"
    path.write_text(JOB.format(provider=name, base="./nowhere"))
    keys = {f"{name.upper()}_API_KEY": stub.key for name, stub in hosts.items()}
    there, here = (
        Tuner(settings=Settings(home=tmp_path / home, profiles=profiles), environment=keys, clock=FakeClock())
        for home in ("there", "here")
    )
    job = there.submit(there.plan(there.read(path)))
    assert job.remote is not None
    taken = here.adopt(name, job.remote.id)
    assert taken.plan.spec.model == job.plan.spec.model
    *_, ended = here.wait(taken.id)
    assert ended.state is JobState.SUCCEEDED
    assert here.model(taken.id).base == job.plan.spec.model


def test_the_weights_of_a_job_at_together_come_home_although_the_way_breaks(
    tmp_path: Path, hosts: dict[str, OpenAIStub | TogetherStub], profiles: dict[str, ProfileSettings]
) -> None:
    together = hosts["together"]
    assert isinstance(together, TogetherStub)
    sample_file(tmp_path)
    path = tmp_path / "finetune.yaml"
    path.write_text(JOB.format(provider="together", base="./nowhere"))
    settings = Settings(home=tmp_path / "home", profiles=profiles)
    tuner = Tuner(settings=settings, environment={"TOGETHER_API_KEY": together.key}, clock=FakeClock())
    *_, job = tuner.wait(tuner.submit(tuner.plan(tuner.read(path))).id)
    console = Console(file=io.StringIO(), record=True, width=100)
    ui.one(job, events=tuner.events(job.id), on=console)
    shown = " ".join(console.export_text().split())
    assert "loss 1.0000 (first 2.0000)" in shown
    assert "checkpoints at step 1, 2" in shown
    download = "GET /v1/finetune/download"
    together.drop_next(download)
    together.break_next(download, times=2)
    together.fail_next(download, status=503)
    manifest = tuner.export(job.id, to="adapter", out=tmp_path / "model")
    assert (manifest["job_id"], manifest["base"]) == (job.id, "Qwen/Qwen3.5-9B")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == sorted([*manifest["files"], "manifest.json"])
    starts = [int(call.headers["range"].removeprefix("bytes=").rstrip("-")) for call in together.calls(download)]
    assert starts[:2] == [0, 0]
    assert 0 < starts[2] < starts[3] == starts[4]
