"""Draw a job's figures elsewhere, from its events: in TensorBoard, MLflow or Weights & Biases, by their own libraries.

Any provider's job can be told of, while it runs and after; what was told before is not told twice. The libraries are
imported where they are asked for, in the user's own process: no worker of ours needs a network or a key for it. What
they would tell their makers of their use, folders of this machine included, is off.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol, get_args
from urllib.parse import urlsplit

from anytune.errors import CredentialError, MissingExtraError, ProviderError, UsageError
from anytune.schema.job import Event, Job

Where = Literal["tensorboard", "mlflow", "wandb"]
WHERE: tuple[Where, ...] = get_args(Where)
JOB, LAST = "anytune.job", "anytune.last_step"  # tags of a run in MLflow
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false", "DO_NOT_TRACK": "true"}
NOT_DRAWN = ("step", "total_steps", "eta_seconds")


@dataclass(frozen=True)
class Point:
    """Be the figures of one step."""

    step: int
    at: datetime
    values: Mapping[str, float]


class Board(Protocol):
    """Be where curves are drawn; `last` is the last step that is there already."""

    last: int
    place: str

    def draw(self, point: Point) -> None:
        """Add the figures of a step."""

    def close(self, *, ended: bool, well: bool) -> None:
        """Push everything out, and say how the job ended if it has."""


def points(events: Iterable[Event]) -> Iterator[Point]:
    """Yield the finite numbers of each event that is of a step, in the order of the events."""
    for event in events:
        step = event.data.get("step")
        if not isinstance(step, int) or isinstance(step, bool):
            continue
        values = {
            name: float(value)
            for name, value in event.data.items()
            if name not in NOT_DRAWN and isinstance(value, int | float) and not isinstance(value, bool)
        }
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if values:
            yield Point(step, event.at, values)


def remote(where: Where, place: str | None) -> bool:
    """Tell whether what is told would leave this machine."""
    return where == "wandb" or (where == "mlflow" and urlsplit(place or "").scheme not in ("", "file", "sqlite"))


def board(
    where: Where, job: Job, *, place: str | None, project: str | None, key: Callable[[], str | None], offline: bool
) -> Board:
    """Open where a job is drawn: its own run, found again by its id.

    Raises `MissingExtraError` without the library, `CredentialError` without a key, `UsageError` for a project that is
    needed.
    """
    if where == "tensorboard":
        return TensorBoard(job, Path(place or "runs"))
    if where == "mlflow":
        return MLflow(job, place or "mlruns", project or "anytune")
    if project is None:
        raise UsageError("Weights & Biases keeps runs in projects", fix="add --project NAME")
    return Wandb(job, project, key=key, offline=offline)


class TensorBoard:
    """Be a folder of TensorBoard's event files, one a job, which is written anew each time."""

    def __init__(self, job: Job, folder: Path) -> None:
        library = _library("tensorboard.summary", "tensorboard")
        self.last, self.place = -1, str(folder / job.id)
        for old in (folder / job.id).glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = library.Writer(self.place)

    def draw(self, point: Point) -> None:
        """Add the figures of a step."""
        for name, value in point.values.items():
            self._writer.add_scalar(name, value, point.step, wall_time=point.at.timestamp())

    def close(self, *, ended: bool, well: bool) -> None:  # noqa: ARG002
        """Push everything to the disk."""
        self._writer.close()


class MLflow:
    """Be a run at MLflow's server or in its files; its tags say which job it is and how far it was told."""

    def __init__(self, job: Job, place: str, project: str) -> None:
        self._library = _library("mlflow", "mlflow")
        uri = place if urlsplit(place).scheme else Path(place).absolute().as_uri()
        if uri.startswith("file:"):  # whoever names a folder wants its files, which MLflow keeps but no longer extends
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self.place = uri
        with _asked("MLflow"):
            self._client = self._library.MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(project)
            experiment = known.experiment_id if known is not None else self._client.create_experiment(project)
            found = self._client.search_runs([experiment], filter_string=f"tags.`{JOB}` = '{job.id}'", max_results=1)
            run = found[0] if found else self._client.create_run(experiment, tags={JOB: job.id}, run_name=job.id)
            self._run = run.info.run_id
            if not found:
                for name, value in _settings(job).items():
                    self._client.log_param(self._run, name, value)
        self.last = int(run.data.tags.get(LAST, -1))

    def draw(self, point: Point) -> None:
        """Add the figures of a step."""
        stamp = int(point.at.timestamp() * 1000)
        made = [self._library.entities.Metric(n, v, stamp, point.step) for n, v in point.values.items()]
        with _asked("MLflow"):
            self._client.log_batch(self._run, metrics=made)
        self.last = max(self.last, point.step)

    def close(self, *, ended: bool, well: bool) -> None:
        """Note how far it was told, and how the job ended."""
        with _asked("MLflow"):
            self._client.set_tag(self._run, LAST, str(self.last))
            if ended:
                self._client.set_terminated(self._run, "FINISHED" if well else "FAILED")


class Wandb:
    """Be a run at Weights & Biases, named by the job's id."""

    def __init__(self, job: Job, project: str, *, key: Callable[[], str | None], offline: bool) -> None:
        library = _library("wandb", "wandb")
        known = None if offline else key()
        if not offline and known is None:
            raise CredentialError("Weights & Biases needs a key", fix="export WANDB_API_KEY=…")
        entity, _, name = project.rpartition("/")
        self._known = known
        with _asked("Weights & Biases", hidden=known):
            self._run = library.init(
                entity=entity or None,
                project=name,
                id=job.id,
                name=job.id,
                resume="allow",
                mode="offline" if offline else "online",
                config=_settings(job),
                settings=library.Settings(api_key=known, silent=True, disable_git=True, disable_code=True),
            )
        self.last = self._run.step - 1 if self._run.step else -1
        self.place = str(self._run.url or self._run.dir)

    def draw(self, point: Point) -> None:
        """Add the figures of a step."""
        with _asked("Weights & Biases", hidden=self._known):
            self._run.log(dict(point.values), step=point.step)

    def close(self, *, ended: bool, well: bool) -> None:
        """Send everything."""
        with _asked("Weights & Biases", hidden=self._known):
            self._run.finish(exit_code=0 if well or not ended else 1)


def _settings(job: Job) -> dict[str, str]:
    """Return what a job is made of, without its data."""
    spec = job.plan.spec
    said = {"provider": job.provider, "model": spec.model, "method": spec.method}
    return said | {setting.path: str(setting.value) for setting in job.plan.settings}


def _library(name: str, package: str) -> ModuleType:
    os.environ.update(SILENT)  # before it is imported: MLflow begins to tell as it is
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(needs=package, extra=package) from error


@contextmanager
def _asked(whom: str, *, hidden: str | None = None) -> Iterator[None]:
    """Turn what a library raises into one line, without a key that may stand in it."""
    try:
        yield
    except Exception as error:  # each library has its own, and passes others through
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise ProviderError(f"{whom} failed: {said.replace(hidden, '…') if hidden else said}") from None


def drawn(board: Board, events: Sequence[Event]) -> int:
    """Draw what is not there so far, and return how many steps that were."""
    many, last = 0, board.last
    for point in points(events):
        if point.step > last:
            board.draw(point)
            many += 1
    board.last = max([last, *(point.step for point in points(events))])
    return many
