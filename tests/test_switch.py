"""One line moves a job from one provider to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.config import ProfileSettings, Settings
from anytune.jobs import SystemClock
from anytune.schema.job import JobState
from anytune.testing import FakeClock, sample_file
from anytune.tuner import Tuner
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
