"""Kill -9 at random instants of a real QLoRA run of the demo's base model, and go on until it has ended.

A worker is killed wherever it happens to be: while it imports, reads the model, trains, saves or writes its end. Most
are copies of this process, which has torch loaded, for to load it is most of what such a short run does; every fifth is
a new process, as a command starts it. What comes of it must be the adapter, byte for byte, of a run that nobody
disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import anytune.local.provider
from anytune import jobs
from anytune.config import Settings
from anytune.jobs import Desk, SystemClock
from anytune.local.processes import start_worker
from anytune.local.provider import LocalProvider, stand
from anytune.local.runs import LOCK_FD, Run
from anytune.providers.base import Profile
from anytune.schema.job import Job, JobState
from anytune.schema.plan import Plan
from anytune.store import SqliteStore
from anytune.tuner import Tuner
from tests.soak.place import Places

BASE = Path(__file__).parents[2] / "fixtures" / "tiny-base"
EXAMPLES = 48
JOB = """\
name: tides
provider: local
model: {base}
data: {{train: train.jsonl}}
training: {{epochs: 6, batch_size: 4, learning_rate: 2.0e-3, lora: {{rank: 8, alpha: 16}}, quantize: nf4, seed: 7}}
"""
SAVES_EVERY = 0.2  # seconds; the trainer's own 15 are longer than the whole run
WHOLE = 0.2  # the share of starts that are new processes
LONGEST = 0.8  # times as long as a copy takes that nobody kills, after which a worker is killed at the latest
PATIENCE = 0.05  # and so much more with each start, for this machine may have got slower
MOST_STARTS = 60  # for one run; one that has not ended by then is stuck
LOOK = 0.03  # seconds


@dataclass
class Tally:
    """Count what happened. `struck` says how far the worker was at each kill; `unequal` ended with other weights."""

    runs: int = 0
    kills: int = 0
    starts: int = 0
    copy_s: float = 0.0
    unequal: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether every run ended with the weights that it should have."""
        return not (self.unequal or self.faults)


class Often(LocalProvider):
    """Save several times in a run that takes seconds."""

    def render(self, *given: Any, **named: Any) -> dict[str, Any]:
        return {**super().render(*given, **named), "checkpoint_seconds": SAVES_EVERY}


def run(places: Places, *, rounds: int, seed: int) -> Tally:
    """Train again and again until `rounds` kills have struck, each run until it has ended."""
    tally, chance = Tally(), random.Random(seed)
    plan = _planned(places.folder)
    whole = _begun(places.folder / "whole", plan)
    whole.until_it_rests()
    if (wanted := whole.adapter()) is None:
        tally.faults.append(f"the undisturbed run ended as {whole.job().state}: {whole.job().error}")
    with loaded(chance):
        for name in ("first", "second"):  # the first of a process has more to read
            began = time.monotonic()
            _begun(places.folder / name, plan).until_it_rests()
            tally.copy_s = round(time.monotonic() - began, 1)
        while tally.kills < rounds and not tally.faults:
            _run(_begun(places.folder / f"run{tally.runs}", plan), tally, chance, wanted=wanted)
    return tally


@contextmanager
def loaded(chance: random.Random) -> Iterator[None]:
    """Start most workers as copies of this process from now on."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a copy has one thread, whatever was there before
    from anytune.local.training import qlora  # noqa: F401
    from anytune.local.worker import run_folder

    def start(run: Run, lock: int, **more: Any) -> None:
        if chance.random() < WHOLE:
            start_worker(run, lock, **more)
            return
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                log = os.open(run.path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.environ[LOCK_FD] = str(lock)
                run_folder(run)
            finally:
                os._exit(1)
        os.close(lock)
        (run.path / "copy").write_text(str(child))

    with mock.patch.object(anytune.local.provider, "start_worker", start):
        yield


@dataclass(frozen=True)
class Training:
    """Be one job on this machine, with a record and a run folder of its own."""

    home: Path
    desk: Desk
    id: str

    @property
    def run(self) -> Run:
        return Run(self.home / "runs" / self.id)

    def job(self) -> Job:
        return jobs.refresh(self.id, desk=self.desk)

    def until_it_rests(self) -> JobState:
        """Wait until no worker is at it."""
        while stand(self.run)[0] in {"queued", "running"}:
            time.sleep(LOOK)
        return self.job().state

    def how_far(self) -> str:
        if self.run.result() is not None:
            return "ended"
        if self.run.pid() is None:
            return "importing"
        if not any(self.desk.provider("local").events(self.id)):
            return "loading"
        saving = any((self.run.path / "checkpoints").glob(".*.part"))
        return "saving" if saving else "training"

    def kill(self) -> bool:
        """Kill the worker; return whether there was one."""
        found = False
        if (copy := self.run.path / "copy").exists():
            child = int(copy.read_text())
            copy.unlink()
            os.kill(child, signal.SIGKILL)  # it is our own child: the number is its own until we have asked for it
            found = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(FileNotFoundError, ProcessLookupError):
                said = command.read_bytes()
                if b"anytune.local.worker" in said and f"{self.run.path}\0".encode() in said:
                    os.kill(int(command.parent.name), signal.SIGKILL)
                    found = True
        return found

    def adapter(self) -> str | None:
        """Return the hash of the weights, None if there are none."""
        path = self.run.path / "model" / "adapter_model.safetensors"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _run(training: Training, tally: Tally, chance: random.Random, *, wanted: str | None) -> None:
    """Kill the worker until one gets to the end."""
    for number in range(MOST_STARTS):
        tally.starts += 1
        _struck(training, tally, after=chance.uniform(0, tally.copy_s * (LONGEST + number * PATIENCE)))
        if training.until_it_rests().is_terminal:
            break
        jobs.resume(training.id, desk=training.desk)
    job = training.job()
    tally.runs += 1
    if job.state is not JobState.SUCCEEDED:
        tally.faults.append(f"run {tally.runs} ended as {job.state}: {job.error}")
    elif training.adapter() != wanted:
        tally.unequal += 1


def _struck(training: Training, tally: Tally, *, after: float) -> None:
    until = time.monotonic() + after
    while time.monotonic() < until and training.run.result() is None:
        time.sleep(LOOK)
    how_far = training.how_far()
    if training.kill():
        tally.kills += 1
        tally.struck[how_far] = tally.struck.get(how_far, 0) + 1


def _planned(folder: Path) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"messages": [
            {"role": "user", "content": f"How high is the water at hour {n}?"},
            {"role": "assistant", "content": f"It is {n * 7} feet.{' It falls.' * (n % 3)}"},
        ]})
        for n in range(EXAMPLES)
    ]  # fmt: skip
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "finetune.yaml").write_text(JOB.format(base=BASE))
    tuner = Tuner(settings=Settings(home=folder / "home"), environment={}, clock=SystemClock())
    plan = tuner.plan(tuner.read(folder / "finetune.yaml"))
    if not plan.ok:
        raise RuntimeError(f"refused: {plan.refused}")
    return plan


def _begun(home: Path, plan: Plan) -> Training:
    home.mkdir()
    provider = Often(Profile(name="local", home=home, key=lambda: ""))
    desk = Desk(store=SqliteStore(home), provider=lambda _: provider)
    return Training(home, desk, jobs.submit(plan, desk=desk).id)
