"""What goes on around the worker on a machine elsewhere: fetch the run, have it trained, bring what it leaves.

The worker is a process of its own, the very one that trains on the user's machine. What runs here stays light, so that
it outlives a worker that is killed for its memory, and can say so. Where the files lie is a `Shelf`'s matter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from anytune import retry
from anytune.errors import AnytuneError, RejectedError
from anytune.local import base_model, settings
from anytune.local.processes import worker_command, worker_environment
from anytune.local.runs import Run, new_run, write_json
from anytune.local.training import checkpoint

LOOK_EVERY = 0.5
RESERVE = 900.0  # seconds before the machine's end at which the run is stopped, and its last step saved
DEADLINE = 3600.0  # for which one step is tried
LOG_TAIL = 1 << 20
INTERRUPTED = 143


class Shelf(Protocol):
    """Keep the files of one run beyond its machine; each act is one try and raises our errors."""

    def names(self) -> Collection[str]:
        """List the run's files, by their names below its folder."""

    def fetch(self, name: str, path: Path) -> None:
        """Bring one of the files that were listed."""

    def fetch_data(self, digest: str, path: Path) -> None:
        """Bring the data of this hash."""

    def write(self, files: Mapping[str, Path], *, gone: Sequence[str], message: str) -> None:
        """Write files and take folders away, so that nobody sees a result before what belongs to it."""


@dataclass(frozen=True)
class Pace:
    """Say after how many seconds, at the earliest, events and a new checkpoint are brought again."""

    events: float
    checkpoints: float


@dataclass
class Courier:
    """Carry files between one run's folder and its shelf."""

    shelf: Shelf
    run: Run
    pace: Pace
    sent_events: int = 0
    sent_step: int | None = None
    times: dict[str, float] = field(default_factory=dict)

    def fetch(self) -> None:
        """Bring the data, and what an earlier attempt left."""
        wanted = {str(self.run.request().get(f"{role}_file") or "") for role in ("training", "validation")}
        files = self.run.path.parent.parent / "files"
        files.mkdir(exist_ok=True)
        for digest in (name.removeprefix("file-") for name in sorted(wanted) if name):
            self.bring_data(digest, files / digest)
        for name in self.tried(self.shelf.names):
            if name in ("events.jsonl", "result.json") or name.startswith("checkpoints/step-"):
                path = self.run.path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self.tried(partial(self.shelf.fetch, name, path))
        newest = checkpoint.newest(self.run.path / "checkpoints")
        self.sent_step = newest.step if newest else None

    def bring_data(self, digest: str, place: Path) -> None:
        """Bring the data of this hash, and see that they are."""
        self.tried(lambda: self.shelf.fetch_data(digest, place))
        if checkpoint.sha256(place) != digest:
            raise RejectedError(f"files/{digest}.jsonl there is not the file that was checked")

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
        renew = self.due("checkpoint", self.pace.checkpoints)
        if not (renew or self.due("events", self.pace.events)):
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
        """Write events and what else is given; the checkpoint there is left, renewed by the newest, or dropped."""
        files, gone = dict(extra or {}), []
        events = self.run.path / "events.jsonl"
        size = events.stat().st_size if events.is_file() else 0
        if size > self.sent_events:
            files["events.jsonl"] = events
        with tempfile.TemporaryDirectory(dir=self.run.path) as aside:
            step = self.linked(Path(aside), files) if checkpoints == "renew" else None
            if self.sent_step is not None and (step is not None or checkpoints == "drop"):
                gone.append(step_folder(self.sent_step))
            if not files:
                return
            self.shelf.write(files, gone=gone, message=message)
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
        """Bring all that the run left, at once, and return the status to end with."""
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


def conducted(
    run: dict[str, Any],
    shelf: Shelf,
    home: Path,
    *,
    pace: Pace,
    seconds: float | None,
    bring: Callable[[str], object],
    require: Callable[[str], None] = lambda _: None,
) -> int:
    """Carry a run out below `home`, which goes with all that is in it, and return the exit status.

    `require` raises where the model cannot be trained on this machine, `bring` fetches its config.json. Why a run
    cannot be carried out at all is left as its result; what may go by itself is left to the next attempt.
    """
    try:
        require(run["model"])
        return carried_out(shelf, home, settled(run, bring=bring), pace=pace, seconds=seconds)
    except retry.REPEATABLE:
        traceback.print_exc()  # the shelf, or the Hub, cannot be reached
        return 1
    except AnytuneError as error:
        traceback.print_exc()
        left = write_result(home, cause="user", error=error.message, fix=error.fix)
        shelf.write({"result.json": left}, gone=(), message="failed")
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)


def carried_out(shelf: Shelf, home: Path, run: dict[str, Any], *, pace: Pace, seconds: float | None) -> int:
    """Make the run's folder, fetch what it needs, train for so long at most, and bring what it left."""
    made, lock = new_run(home / "runs", run["job_id"], run)
    if lock is not None:
        os.close(lock)  # the worker takes it itself
    courier = Courier(shelf, made, pace)
    courier.fetch()
    if (made.result() or {}).get("state") == "succeeded":
        return 0  # an attempt before this one did it all
    (made.path / "result.json").unlink(missing_ok=True)
    return courier.finish(trained(courier, seconds=seconds))


def settled(run: dict[str, Any], *, bring: Callable[[str], object]) -> dict[str, Any]:
    """Return the run with the length that was left to what the base model can hold; `bring` fetches its config.json."""
    if run["training"]["max_length"] != "auto":
        return run
    if base_model.locate(run["model"]) is None:
        bring(run["model"])
    length = min(settings.LENGTH, settings.context(run["model"]) or settings.LENGTH)
    return {**run, "training": {**run["training"], "max_length": length}}


def write_result(folder: Path, **said: Any) -> Path:
    """Write down that the run has failed, and why."""
    now = datetime.now(UTC).isoformat()
    write_json(folder / "result.json", {"state": "failed", **said, "finished_at": now})
    return folder / "result.json"


def trained(courier: Courier, *, seconds: float | None) -> int:
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
        late = seconds is not None and time.monotonic() - started > seconds - min(RESERVE, seconds / 4)
        if late and not told:
            print("the machine's time is nearly over: the run saves its last step and stops", flush=True)
            worker.terminate()
            told = True


def died(status: int) -> str:
    """Say how a worker ended that said nothing itself."""
    if status == -signal.SIGKILL:
        return "the worker was killed, as happens when the machine's memory is full: take a larger machine"
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
