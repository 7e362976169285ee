"""A frozen base dealt out over the processes that train: the same bits, each process with its part alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import UsageError
from anytune.local import spread
from anytune.local.machine import Hardware
from anytune.local.memory import fit, ladder
from anytune.local.memory.fit import Pass, Way
from anytune.local.memory.ladder import Work
from anytune.local.memory.shape import Shape
from anytune.local.processes import start_worker
from anytune.local.provider import LocalProvider
from anytune.local.runs import is_held, new_run, read_json, write_json
from anytune.local.spread import PROCESSES, SHARD
from anytune.providers.base import Profile
from anytune.schema.job import JobState, RemoteJob
from tests.local.conftest import end_workers, ended, request, wait
from tests.local.test_crew import first_step, followers, furthest, goes_on, until, weights

QLORA = {"quantize": "nf4", "lora": {"rank": 16, "dropout": 0.0}, "max_length": 2048}
LLAMA_70B = Shape(8192, 28672, 80, 64, 8, 128, 128256, tied=False)
pytestmark = pytest.mark.timeout(600)
NEAR = 1e-4  # of the largest weight: what two orders of addition may make of a short run


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_workers(tmp_path)


def provider(home: Path, processes: int, shard: Any) -> LocalProvider:
    return LocalProvider(Profile(name="local", home=home, key=lambda: "", processes=processes, shard=shard))


def trained(home: Path, base: Path, data: Path, name: str, processes: int, shard: Any, **training: Any) -> RemoteJob:
    far = provider(home, processes, shard)
    far.create(request(far, base, data, name, **training) | {"event_seconds": 0})
    job = wait(far, name, ended)
    assert job.state is JobState.SUCCEEDED, job
    return job


def files(home: Path, name: str) -> dict[str, list[str]]:
    """Name what a run has left: its model's files, and those of its last checkpoint."""
    run = home / "runs" / name
    newest = max((run / "checkpoints").iterdir())
    return {folder.name: sorted(path.name for path in folder.iterdir()) for folder in (run / "model", newest)}


@pytest.mark.parametrize(("method", "data"), [("sft", "chats"), ("dpo", "pairs")])
@pytest.mark.local
def test_dealt_out_or_whole_two_processes_or_one_the_bits_are_the_same(
    home: Path, base: Path, request: pytest.FixtureRequest, method: Any, data: str
) -> None:
    lines: Path = request.getfixturevalue(data)
    small = {"method": method, "micro_batch_size": 2}  # each process has one batch: both orders of adding are one
    trained(home, base, lines, "one", 1, False, **small)
    trained(home, base, lines, "whole", 2, False, **small)
    trained(home, base, lines, "dealt", 2, True, **small)
    assert read_json(home / "runs" / "dealt" / "machine.json")["shards"] == 2  # type: ignore[index]
    assert furthest(weights(home, "whole"), weights(home, "dealt")) == 0
    assert furthest(weights(home, "one"), weights(home, "dealt")) == 0
    assert files(home, "one") == files(home, "whole") == files(home, "dealt")


@pytest.mark.local
def test_an_adapter_on_a_layer_that_is_not_in_nf4_is_trained_beside_those_that_are_dealt_out(
    home: Path, base: Path, chats: Path
) -> None:
    some: dict[str, Any] = {"lora": {"rank": 4, "target_modules": ["q_proj", "lm_head"]}, "micro_batch_size": 2}
    trained(home, base, chats, "whole", 2, False, **some)
    trained(home, base, chats, "dealt", 2, True, **some)
    assert any("lm_head" in name and "lora_B" in name and value.any() for name, value in weights(home, "dealt").items())
    assert furthest(weights(home, "whole"), weights(home, "dealt")) == 0


@pytest.mark.local
def test_a_process_that_has_fewer_batches_keeps_the_others_company(home: Path, base: Path, chats: Path) -> None:
    """With adapters on some layers alone, layers computed twice, and 3 batches for 2 processes."""
    some: dict[str, Any] = {"lora": {"rank": 4, "target_modules": ["q_proj", "down_proj"]}, "batch_size": 6}
    far = provider(home, 2, True)
    body = request(far, base, chats, "uneven", micro_batch_size=2, **some) | {"event_seconds": 0}
    run, lock = new_run(home / "runs", "uneven", body)
    assert lock is not None
    way = Way("float32", "float32", unpack=False, micro_tokens=4096, recompute=True, shards=2)
    write_json(run.path / "machine.json", {**vars(way), "threads": 1, "today": "2026-01-01"})
    start_worker(run, lock, parted=spread.told(2, True))
    two = wait(far, "uneven", ended)
    one = trained(home, base, chats, "one", 1, False, **some)
    assert two.state is JobState.SUCCEEDED, two
    assert two.trained_tokens == one.trained_tokens
    assert furthest(weights(home, "one"), weights(home, "uneven")) < NEAR
    assert (read_json(run.path / "attention.json") or {})["trees"], "what chats begin with alike is computed once"


@pytest.mark.local
@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_a_killed_run_goes_on_to_the_bits_of_an_unbroken_one(home: Path, base: Path, chats: Path, whom: str) -> None:
    far = provider(home, 2, True)
    far.create(request(far, base, chats, "broken", epochs=25))
    first_step(far, "broken")
    led, followed = far._run("broken").pid() or 0, followers(home, "broken")
    os.kill(led if whom == "leader" else followed[0], signal.SIGKILL)
    job = wait(far, "broken", lambda job: job.state in (JobState.PAUSED, JobState.FAILED), seconds=60)
    assert job.state is (JobState.PAUSED if whom == "leader" else JobState.FAILED)
    until(lambda: followers(home, "broken") == [] and not is_held(home / "runs" / "broken"))
    before = len(far.events("broken"))
    far.resume("broken")
    goes_on(far, "broken", before)
    assert wait(far, "broken", ended).state is JobState.SUCCEEDED
    trained(home, base, chats, "unbroken", 2, True, epochs=25)
    assert furthest(weights(home, "unbroken"), weights(home, "broken")) == 0


@pytest.mark.local
def test_each_process_opens_and_holds_its_part_alone(base: Path) -> None:
    import torch

    from anytune.local.loading import linear_4bit, open_base
    from anytune.local.training.shards import Shards

    def held(net: Any) -> int:
        weights = [layer.weight for _, layer in linear_4bit(net)]
        scales = (weight.quant_state.absmax for weight in weights)
        return sum(w.nbytes for w in weights) + sum(s.nbytes for s in scales if s is not None)

    whole, parts = open_base(str(base), quantize="nf4", dtype="float32", unpack=False), []
    for rank in range(3):
        with (shards := Shards(rank=rank, size=3)).opening():
            parts.append(open_base(str(base), quantize="nf4", dtype="float32", unpack=False))
        assert shards.size == 3
        assert held(parts[-1]) <= held(whole) / 3 + 3 * len(linear_4bit(whole))
    layers = zip(linear_4bit(whole), *map(linear_4bit, parts), strict=True)
    for (_, layer), *own in layers:
        joined = torch.cat([part.weight.data for _, part in own])
        value = own[0][1].weight.part.unpacked(joined)
        from anytune.local.loading import unpacked

        assert torch.equal(value, unpacked(layer))
    again = open_base(str(base), quantize="nf4", dtype="float32", unpack=False)
    assert held(again) == held(whole), "the next model is opened as before"


def test_what_each_process_needs_falls_by_what_the_others_hold() -> None:
    way = Way("bfloat16", "bfloat16", unpack=False, micro_tokens=2048, recompute=True)
    whole, half = (
        fit.need(LLAMA_70B, QLORA, replace(way, shards=shards), Pass(2048, 1024)).peak("cuda") for shards in (1, 2)
    )
    nf4 = LLAMA_70B.linear * fit.NF4_BYTES
    assert whole > 39 << 30
    assert nf4 / 2 > whole - half > 0.95 * nf4 / 2, "but for the layers that are being brought together"


def test_the_base_is_dealt_out_where_it_fits_no_other_way() -> None:
    work = Work(QLORA, shards=spread.shards({}, QLORA, size=8))
    large, small = (Hardware("cuda", "GPU", 1, size << 30, True, 8) for size in (80, 24))
    assert ladder.chosen(LLAMA_70B, work, large).shards == 1
    assert ladder.chosen(LLAMA_70B, work, small).shards == 8
    assert not ladder.fits(LLAMA_70B, Work(QLORA), small)
    assert ladder.fits(LLAMA_70B, work, small)


def test_memory_that_runs_out_has_the_base_dealt_out_in_the_end() -> None:
    way: Way | None = Way("bfloat16", "bfloat16", unpack=False, micro_tokens=2048, recompute=True)
    work = Work(QLORA, shards=(1, 2))
    assert way is not None
    below = ladder.lower(way, work, tokens=None)
    assert below is not None
    assert ladder.step_words(way, below) == "the base is dealt out over 2 processes"
    assert ladder.lower(below, work, tokens=None) is None
    assert ladder.lower(way, Work(QLORA), tokens=None) is None


@pytest.mark.parametrize(
    ("training", "why"),
    [
        ({**QLORA, "quantize": None}, "not in NF4"),
        ({**QLORA, "lora": None}, "all weights are trained"),
        ({**QLORA, "lora": {"rank": 16, "dropout": 0.1}}, "dropout"),
    ],
)
def test_what_cannot_be_dealt_out_is_told_where_it_was_asked_for(training: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        spread.shards({SHARD: "yes"}, training, size=2)
    assert spread.shards({SHARD: "auto"}, training, size=2) == (1,)
    assert spread.shards({SHARD: "yes", PROCESSES: "1"}, training, size=1) == (1,)
    with pytest.raises(UsageError, match="auto, yes or no"):
        spread.shards({SHARD: "perhaps"}, training, size=2)


def test_like_batches_are_computed_in_one_round_and_each_process_has_as_many() -> None:
    from anytune.local.training.team import Team

    dealt = [Team(rank, 2).rounds([3, 9, 4, 8, 1], lambda size: size) for rank in range(2)]
    assert dealt == [[9, 4, 1], [8, 3, None]]
