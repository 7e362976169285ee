"""What runs on the rented machine: fetch the run, have the worker train it, bring what it leaves to the repository.

python -m anytune.local.hub_job

The worker is a process of its own, the very one that trains on the user's machine. This one stays light, so that it
outlives a worker that is killed for its memory, and can say so. The environment says what to do (ANYTUNE_RUN,
ANYTUNE_REPO, ANYTUNE_SECONDS) and has the key (HF_TOKEN).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from anytune import retry
from anytune.errors import AnytuneError, RejectedError
from anytune.local import settings
from anytune.local.hf_jobs import download as downloads
from anytune.local.hf_jobs.fault import mapped
from anytune.local.hf_jobs.gateway import Hub
from anytune.local.hf_jobs.request import NAME
from anytune.local.processes import worker_command, worker_environment
from anytune.local.runs import Run, new_run, write_json
from anytune.local.training import checkpoint
from anytune.providers.base import Profile

# The Hub takes 128 commits to a repository in an hour, from all of a user's jobs together.
EVENTS_EVERY, CHECKPOINT_EVERY, LOOK_EVERY = 120.0, 900.0, 0.5
RESERVE = 900.0  # seconds before the machine's end at which the run is stopped, and its last step saved
DEADLINE = 3600.0  # for which one commit is tried
LOG_TAIL = 1 << 20
INTERRUPTED = 143


@dataclass
class Courier:
    """Carry files between one run's folder and its folder in the repository."""

    hub: Hub
    repository: str
    run: Run
    sent_events: int = 0
    sent_step: int | None = None
    times: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Return the run's folder in the repository."""
        return f"jobs/{self.run.id}"

    def fetch(self) -> None:
        """Bring the data, and what an earlier attempt left."""
        wanted = {str(self.run.request().get(f"{role}_file") or "") for role in ("training", "validation")}
        files = self.run.path.parent.parent / "files"
        files.mkdir(exist_ok=True)
        for digest in (name.removeprefix("file-") for name in sorted(wanted) if name):
            self.bring_data(digest, files / digest)
        act = "look for what was left"
        for entry in self.tried(lambda: self.hub.listed(self.repository, self.folder, act=act)):
            name = entry.path.removeprefix(f"{self.folder}/")
            if name in ("events.jsonl", "result.json") or name.startswith("checkpoints/step-"):
                self.bring(entry, self.run.path / name)
        newest = checkpoint.newest(self.run.path / "checkpoints")
        self.sent_step = newest.step if newest else None

    def bring_data(self, digest: str, place: Path) -> None:
        """Bring the data of this hash, and see that they are."""
        path = f"files/{digest}.jsonl"
        self.bring(self.tried(lambda: self.hub.entry(self.repository, path, act="fetch the data")), place)
        if checkpoint.sha256(place) != digest:
            raise RejectedError(f"{path} in the repository is not the file that was checked")

    def bring(self, entry: Any, path: Path) -> None:
        """Bring one file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.tried(lambda: downloads.fetch(self.hub, self.repository, entry, path))

    def tried(self, act: Callable[[], Any]) -> Any:
        """Do it until it is done; nothing here harms when it is done twice."""
        return retry.call(act, clock=time, attempts=30, deadline=DEADLINE)

    def due(self, what: str, every: float) -> bool:
        """Tell whether it is time again, and count it as done."""
        now = time.monotonic()
        if now - self.times.setdefault(what, now) < every:
            return False
        self.times[what] = now
        return True

    def keep_up(self) -> None:
        """Bring new events, and now and then a new checkpoint; one that fails comes with the next."""
        renew = self.due("checkpoint", CHECKPOINT_EVERY)
        if not (renew or self.due("events", EVENTS_EVERY)):
            return
        try:
            self.send("how it stands", checkpoints="renew" if renew else "leave")
        except (AnytuneError, OSError) as error:
            print(f"not sent: {error}", flush=True)

    def send(
        self,
        message: str,
        *,
        checkpoints: Literal["leave", "renew", "drop"],
        extra: Mapping[str, Path] | None = None,
    ) -> None:
        """Commit events and what else is given; the checkpoint there is left, renewed by the newest, or dropped."""
        files, gone = dict(extra or {}), []
        events = self.run.path / "events.jsonl"
        size = events.stat().st_size if events.is_file() else 0
        if size > self.sent_events:
            files["events.jsonl"] = events
        with tempfile.TemporaryDirectory(dir=self.run.path) as aside:
            step = self.linked(Path(aside), files) if checkpoints == "renew" else None
            if self.sent_step is not None and (step is not None or checkpoints == "drop"):
                gone.append(f"{self.folder}/{step_folder(self.sent_step)}")
            if not files:
                return
            self.hub.commit(
                self.repository,
                {f"{self.folder}/{name}": path for name, path in files.items()},
                gone=gone,
                message=f"{self.run.id}: {message}",
            )
        self.sent_events = size
        self.sent_step = self.sent_step if step is None else step

    def linked(self, aside: Path, files: dict[str, Path]) -> int | None:
        """Hold a new checkpoint's files by a second name, since the worker takes old ones away; None if none is new."""
        newest = checkpoint.newest(self.run.path / "checkpoints")
        if newest is None or newest.step == self.sent_step:
            return None
        try:
            for path in newest.path.iterdir():
                os.link(path, aside / path.name)
        except FileNotFoundError:
            return None  # taken away between two lines: the next one will be sent
        files |= {f"{step_folder(newest.step)}/{path.name}": path for path in aside.iterdir()}
        return newest.step

    def finish(self, status: int) -> int:
        """Bring all that the run left, in one commit, and return the status to end with."""
        result = self.run.result()
        if result is None and status != INTERRUPTED:
            write_result(self.run.path, cause="provider", error=died(status))
            result = self.run.result()
        left = {"log": tail(self.run.path / "log")}
        if result is not None:
            left["result.json"] = self.run.path / "result.json"
        state = str((result or {}).get("state", "interrupted"))
        if state == "succeeded":
            left |= {f"model/{path.name}": path for path in (self.run.path / "model").iterdir() if path.is_file()}
        checkpoints: Literal["drop", "renew"] = "drop" if state == "succeeded" else "renew"
        self.tried(lambda: self.send(state, checkpoints=checkpoints, extra=left))
        return {"succeeded": 0, "interrupted": INTERRUPTED}.get(state, 1)


def main() -> int:
    """Carry out the run that the environment names."""
    home, run = Path(tempfile.mkdtemp(prefix="anytune-run-")), json.loads(os.environ["ANYTUNE_RUN"])
    address, key = os.environ.get("HF_ENDPOINT"), os.environ["HF_TOKEN"]
    hub = Hub(Profile(name=NAME, home=home, key=lambda: key, base_url=address))
    try:
        return carried_out(hub, home, run)
    except retry.REPEATABLE:
        traceback.print_exc()  # the Hub cannot be reached: the next attempt may go on
        return 1
    except AnytuneError as error:
        traceback.print_exc()
        left = write_result(home, cause="user", error=error.message, fix=error.fix)
        hub.commit(os.environ["ANYTUNE_REPO"], {f"jobs/{run['job_id']}/result.json": left}, message="failed")
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)


def carried_out(hub: Hub, home: Path, asked: dict[str, Any]) -> int:
    """Make the run's folder, fetch what it needs, train, and bring what it left."""
    made, lock = new_run(home / "runs", asked["job_id"], settled(asked))
    if lock is not None:
        os.close(lock)  # the worker takes it itself
    courier = Courier(hub, os.environ["ANYTUNE_REPO"], made)
    courier.fetch()
    if (made.result() or {}).get("state") == "succeeded":
        return 0  # an attempt before this one did it all
    (made.path / "result.json").unlink(missing_ok=True)
    return courier.finish(trained(courier, seconds=float(os.environ["ANYTUNE_SECONDS"])))


def settled(run: dict[str, Any]) -> dict[str, Any]:
    """Return the run with the length that was left to what the base model can hold."""
    if run["training"]["max_length"] != "auto":
        return run
    from huggingface_hub import hf_hub_download

    with mapped("fetch the base model", secret=os.environ["HF_TOKEN"]):
        hf_hub_download(run["model"], "config.json")
    length = min(settings.LENGTH, settings.context(run["model"]) or settings.LENGTH)
    return {**run, "training": {**run["training"], "max_length": length}}


def write_result(folder: Path, **said: Any) -> Path:
    """Write down that the run has failed, and why."""
    now = datetime.now(UTC).isoformat()
    write_json(folder / "result.json", {"state": "failed", **said, "finished_at": now})
    return folder / "result.json"


def trained(courier: Courier, *, seconds: float) -> int:
    """Run the worker to its end, tell meanwhile how it stands, and return its exit status."""
    started, told = time.monotonic(), False
    with (courier.run.path / "log").open("ab") as log:
        worker = subprocess.Popen(
            worker_command("run", str(courier.run.path)),
            env=worker_environment(alone=courier.run.request().get("offline", True)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=courier.run.path,
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.terminate())
    while True:
        try:
            return worker.wait(timeout=LOOK_EVERY)
        except subprocess.TimeoutExpired:
            courier.keep_up()
        if not told and time.monotonic() - started > seconds - min(RESERVE, seconds / 4):
            print("the machine's time is nearly over: the run saves its last step and stops", flush=True)
            worker.terminate()
            told = True


def died(status: int) -> str:
    """Say how a worker ended that said nothing itself."""
    if status == -signal.SIGKILL:
        return "the worker was killed, as happens when the machine's memory is full: take a larger flavor"
    return f"the worker ended with status {status}"


def step_folder(step: int) -> str:
    """Return a checkpoint's folder within the run's."""
    return f"checkpoints/step-{step:08d}"


def tail(log: Path) -> Path:
    """Shorten a long log to its end."""
    if log.stat().st_size > LOG_TAIL:
        with log.open("rb") as handle:
            handle.seek(-LOG_TAIL, os.SEEK_END)
            rest = handle.read()
        log.write_bytes(rest)
    return log


if __name__ == "__main__":
    sys.exit(main())
