"""Memory that runs out: the run goes one step down and on from its last checkpoint, and says so."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anytune.local import spread
from anytune.local.machine import Hardware
from anytune.local.memory import ladder, shortage
from anytune.local.memory.fit import Way
from anytune.local.memory.ladder import Work
from anytune.local.runs import Run
from anytune.local.training.events import EventLog, read_events
from tests.local.conftest import new_provider, request

WAY = Way("float32", "float32", unpack=True, micro_tokens=4096, recompute=False)
WORK = Work({"quantize": "nf4", "lora": {"rank": 8}, "max_length": 2048})


def test_each_step_down_needs_less_and_learns_the_same() -> None:
    way: Way | None = WAY
    said = []
    while way is not None:
        below = ladder.lower(way, WORK, tokens=ladder.divisible(way, WORK))
        said += [] if below is None else [ladder.step_words(way, below)]
        way = below
    assert said == [
        "2,048 tokens in a pass instead of 4,096",
        "the weights stay packed",
        "layers are computed again on the way back",
    ]


def test_a_model_of_which_nothing_is_known_is_begun_with_care() -> None:
    gpu, cpu = (Hardware(device, device, 1, 24 << 30, True) for device in ("cuda", "cpu"))
    on_gpu, here = (ladder.blind(WORK, machine) for machine in (gpu, cpu))
    assert (on_gpu.dtype, on_gpu.unpack) == ("bfloat16", False)
    assert (here.dtype, here.unpack) == ("float32", True)
    assert ladder.blind(Work({**WORK.training, "lora": None, "quantize": None}), gpu).dtype == "float32"


def test_without_nf4_there_is_nothing_to_pack() -> None:
    plain = Work({**WORK.training, "quantize": None})
    assert ladder.packed(WAY, plain) is None
    below = ladder.lower(WAY, plain, tokens=None)
    assert below is not None
    assert below.recompute


def test_a_pass_that_was_smaller_than_allowed_is_cut_itself() -> None:
    below = ladder.lower(WAY, WORK, tokens=600)
    assert below is not None
    assert below.micro_tokens == 300


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError("[Errno 12] Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_libraries_call_a_shortage_is_known_for_one(error: Exception) -> None:
    assert shortage.is_shortage(error)
    assert not shortage.is_shortage(RuntimeError("shapes cannot be multiplied"))


def begun(folder: Path, *, kills: int | None) -> Run:
    """Write a run's folder as a worker leaves it that was killed."""
    run = Run(folder)
    (folder / "request.json").write_text(json.dumps({"training": WORK.training, "method": "sft"}))
    (folder / "machine.json").write_text(json.dumps({**vars(WAY), "threads": 1}))
    if kills is not None:
        (folder / shortage.KILLS).write_text(str(kills))
    return run


@pytest.mark.parametrize(("before", "falls"), [(None, False), (4, False), (3, True)])
def test_a_run_that_the_system_killed_for_its_memory_goes_on_with_less(
    tmp_path: Path, before: int | None, falls: bool
) -> None:
    run, events = begun(tmp_path, kills=before), EventLog(tmp_path / "events.jsonl")
    shortage.fall_after_kill(run, events, now=4)
    events.close()
    choices = json.loads((tmp_path / "machine.json").read_text())
    assert choices["threads"] == 1
    assert choices["micro_tokens"] == (2048 if falls else 4096)
    said = [event.message for event in read_events(tmp_path / "events.jsonl")]
    assert said == (
        [
            "the system killed a process for its memory while this run went on; going on from the last checkpoint: "
            "2,048 tokens in a pass instead of 4,096"
        ]
        if falls
        else []
    )
    assert (tmp_path / shortage.KILLS).read_text() == "4"


@pytest.mark.parametrize("shard", ["auto", "yes"])
@pytest.mark.parametrize("quantize", ["nf4", None])
def test_learning_from_rewards_has_one_process_and_never_deals_out_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: str, quantize: str | None
) -> None:
    run, events = begun(tmp_path, kills=None), EventLog(tmp_path / "events.jsonl")
    for name, value in spread.told(2, shard).items():
        monkeypatch.setenv(name, value)
    training = {**WORK.training, "quantize": quantize, "lora": {"rank": 8, "dropout": 0.0}}
    (tmp_path / "request.json").write_text(json.dumps({"training": training, "method": "rft"}))
    lowest = {**vars(WAY), "unpack": quantize is None, "recompute": True, "threads": 1}
    (tmp_path / "machine.json").write_text(json.dumps(lowest))
    for error in (shortage.ShortOfMemory(opening=True), shortage.ShortOfMemory(opening=False)):
        assert not shortage.fall(run, error, events)
    assert json.loads((tmp_path / "machine.json").read_text()) == lowest


def test_a_run_ends_with_its_result_where_settings_forbid_to_look_for_a_way_down(tmp_path: Path) -> None:
    """As one that began alone and goes on with two processes that cannot share its base."""
    begun(tmp_path, kills=None)
    body = {"training": {**WORK.training, "quantize": None}, "method": "sft", "offline": False}
    (tmp_path / "request.json").write_text(json.dumps(body))
    program = """
import sys
from pathlib import Path
from anytune.local import worker
from anytune.local.memory.shortage import ShortOfMemory
from anytune.local.runs import Run
def short(*arguments):
    raise ShortOfMemory(opening=True)
worker.carry_out = short
sys.exit(worker.run_folder(Run(Path(sys.argv[1]))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, **spread.told(2, shard=True)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert (done.returncode, result["state"], result["error"]) == (1, "failed", "out of memory"), done.stderr
    assert [event.message for event in read_events(tmp_path / "events.jsonl")][-1] == "out of memory"


def told(provider: Any, name: str) -> list[str]:
    return [event.message for event in provider.events(name) if "out of memory" in event.message]


@pytest.mark.local
def test_a_run_out_of_memory_goes_on_by_itself_from_its_last_checkpoint(
    finished: Any, base: Path, chats: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from tests.local.test_life import folder, run_now

    _, whole = finished
    provider = new_provider(tmp_path)
    run = folder(provider, request(provider, base, chats, "short"))

    def short() -> None:
        """Let the third step of this process find no memory; the process that follows has none of this."""
        from anytune.local.training.head import HeadFilter

        loss, passes = HeadFilter.loss, []

        def failing(self: HeadFilter, net: Any, batch: Any) -> Any:
            found = loss(self, net, batch)
            passes.append(batch)
            if len(passes) == 3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return found

        HeadFilter.loss = failing  # type: ignore[method-assign]

    got = run_now(provider, run, first=short)
    assert got["state"] == "succeeded", got
    assert got["steps"] == 12
    assert len(said := told(provider, "short")) == 1
    assert "going on from the last checkpoint" in said[0]
    assert "tokens in a pass instead of 4,096" in said[0]
    assert any(event.message == "going on from step 2" for event in provider.events("short"))
    assert got["micro_tokens"] < 4096
    first = json.loads((Path(whole.model).parent / "result.json").read_text())
    assert got["train_loss"] == pytest.approx(first["train_loss"], rel=1e-4)  # the same examples in each step
    assert got["trained_tokens"] == first["trained_tokens"]


@pytest.mark.local
def test_under_a_real_limit_a_run_finds_the_way_that_fits(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.local.conftest import chat, write_lines
    from tests.local.test_life import folder, run_now

    provider = new_provider(tmp_path)
    told_apart = ({"role": "system", "content": f"{n * 7919 % 800} is what counts."} for n in range(800))
    records = [{"messages": [system, *chat(n)["messages"][1:]]} for n, system in enumerate(told_apart)]
    many = write_lines(tmp_path / "many.jsonl", records)
    body = request(provider, base, many, "tight", batch_size=800, epochs=1) | {"validation_file": None}
    run = folder(provider, body)
    way = {**vars(WAY), "micro_tokens": 1 << 16, "threads": 1}  # as if much more memory had been free before
    (run.path / "machine.json").write_text(json.dumps(way))

    def limit() -> None:
        status = Path("/proc/self/status").read_text()
        used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + (250 << 20), used + (250 << 20)))

    got = run_now(provider, run, first=limit)
    assert got["state"] == "succeeded", got
    assert told(provider, "tight"), os.listdir(run.path)
    assert got["micro_tokens"] < 1 << 16
    assert got["steps"] == 1
