"""Several processes that train one run together make what one would make, and stop, fail and go on as one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anytune.errors import UsageError
from anytune.local import spread
from anytune.local.provider import LocalProvider
from anytune.local.runs import is_held
from anytune.local.spread import PROCESSES
from anytune.providers.base import Profile
from anytune.schema.job import JobState, RemoteJob
from tests.local.conftest import end_workers, ended, request, wait

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]
NEAR = 1e-4  # of the largest weight: what two orders of addition may make of a short run; 6e-6 was measured
HALTED = (JobState.PAUSED, JobState.SUCCEEDED)
PACED = {"epochs": 25}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_workers(tmp_path)


def provider(home: Path, processes: int = 1) -> LocalProvider:
    return LocalProvider(Profile(name="local", home=home, key=lambda: "", processes=processes))


def trained(home: Path, base: Path, data: Path, name: str, processes: int, **training: Any) -> RemoteJob:
    far = provider(home, processes)
    far.create(request(far, base, data, name, **training) | {"event_seconds": 0})
    return wait(far, name, ended)


def losses(home: Path, name: str) -> list[float]:
    told = provider(home).events(name)
    return [event.data["loss"] for event in told if "loss" in event.data]


def weights(home: Path, name: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(home / "runs" / name / "model" / "adapter_model.safetensors"))


def furthest(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference, as a share of the largest number."""
    assert one.keys() == other.keys()
    most = max(value.abs().max().item() for value in one.values())
    return max((one[name] - other[name]).abs().max().item() for name in one) / most


def followers(home: Path, name: str) -> list[int]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            said = command.read_bytes().split(b"\0")
            if b"follow" in said and str(home / "runs" / name).encode() in said:
                found.append(int(command.parent.name))
    return found


def first_step(far: LocalProvider, name: str) -> None:
    until(lambda: any(event.data.get("loss") for event in far.events(name)))


def goes_on(far: LocalProvider, name: str, before: int) -> None:
    until(lambda: any(event.data.get("loss") for event in far.events(name)[before:]))


def until(true: Callable[[], Any], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not in {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize(("method", "data"), [("sft", "chats"), ("dpo", "pairs")])
def test_two_processes_make_what_one_makes(
    home: Path, base: Path, request: pytest.FixtureRequest, method: str, data: str
) -> None:
    lines: Path = request.getfixturevalue(data)
    one = trained(home, base, lines, "one", 1, method=method)
    two = trained(home, base, lines, "two", 2, method=method)
    assert (one.state, two.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED), two
    assert one.trained_tokens == two.trained_tokens
    assert min(losses(home, "one")) > 0
    assert losses(home, "two") == pytest.approx(losses(home, "one"), rel=1e-4)
    off = furthest(weights(home, "one"), weights(home, "two"))
    print(f"{method}: the weights are {off:.1e} off")
    assert off < NEAR


def test_a_run_of_two_goes_on_with_one_and_with_three(home: Path, base: Path, chats: Path) -> None:
    far = provider(home, 2)
    far.create(request(far, base, chats, "parted", **PACED))
    first_step(far, "parted")
    for processes in (1, 3):
        os.kill(far._run("parted").pid() or 0, signal.SIGTERM)
        assert (
            wait(far, "parted", lambda job: job.state in (JobState.PAUSED, JobState.SUCCEEDED)).state is JobState.PAUSED
        )
        assert followers(home, "parted") == []
        until(lambda: not is_held(home / "runs" / "parted"))
        far, before = provider(home, processes), len(far.events("parted"))
        far.resume("parted")
        goes_on(far, "parted", before)
    assert wait(far, "parted", ended).state is JobState.SUCCEEDED
    assert trained(home, base, chats, "whole", 1, **PACED).state is JobState.SUCCEEDED
    told = [event.message for event in far.events("parted")]
    assert len([message for message in told if message.startswith("going on from step")]) == 2
    assert furthest(weights(home, "whole"), weights(home, "parted")) < 10 * NEAR


def test_the_death_of_one_ends_all_with_one_clear_line(home: Path, base: Path, chats: Path) -> None:
    far = provider(home, 3)
    far.create(request(far, base, chats, "died", epochs=100))
    first_step(far, "died")
    os.kill(max(followers(home, "died")), signal.SIGKILL)
    job = wait(far, "died", ended, seconds=60)
    assert (job.state, job.cause) == (JobState.FAILED, "provider")
    assert job.error == "process 2 of 3: it was ended by SIGKILL"
    far = provider(home, 1)
    until(lambda: not is_held(home / "runs" / "died"))
    assert far.resume("died").state in (JobState.QUEUED, JobState.RUNNING)
    far.cancel("died")
    assert wait(far, "died", ended).state is JobState.CANCELLED


def test_nobody_outlives_the_leader(home: Path, base: Path, chats: Path) -> None:
    far = provider(home, 2)
    far.create(request(far, base, chats, "led", epochs=100))
    first_step(far, "led")
    os.kill(far._run("led").pid() or 0, signal.SIGKILL)
    wait(far, "led", lambda job: job.state is JobState.PAUSED)
    until(lambda: followers(home, "led") == [])


@pytest.mark.parametrize("told", ["0", "65", "two", "-1", ""])
def test_what_is_no_number_of_processes_is_told(told: str) -> None:
    with pytest.raises(UsageError, match="auto, or a number from 1 to 64"):
        spread.wanted({PROCESSES: told})


def test_auto_is_one_process_on_each_gpu_and_each_sees_its_own() -> None:
    seen = {PROCESSES: "auto", "CUDA_VISIBLE_DEVICES": "2,5"}
    assert spread.wanted(seen) == 2
    own = [spread.own_gpu(rank, 2, seen) for rank in (0, 1)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in own] == ["2", "5"]
    assert spread.gpus(own[1]) == ["2", "5"], "a worker that begins anew knows of all"
    assert spread.wanted({PROCESSES: "auto", "CUDA_VISIBLE_DEVICES": ""}) == 1
    with pytest.raises(UsageError, match="3 processes are to train on 2 GPUs"):
        spread.own_gpu(0, 3, seen)


def test_batches_are_dealt_out_whole_and_evenly() -> None:
    from anytune.local.training.team import Team

    sizes = [1, 2, 3, 5, 8, 13, 21]
    dealt = [Team(rank, 3).deal(sizes, lambda size: size) for rank in range(3)]
    assert sorted(size for mine in dealt for size in mine) == sizes
    assert max(map(sum, dealt)) == 21
    assert Team(1, 3).deal([7], lambda size: size) == []
