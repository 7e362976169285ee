"""The local provider: upload is a copy, create starts a detached worker, find asks whether the run folder exists.

Nothing here imports torch; the worker process (`anytune.local.worker`) does. All that this module knows of a run
stands in the run's folder (`runs.py`), so it can be asked from any process, before and after the worker's life.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytune import catalog, private
from anytune.errors import NotFoundError, ProviderError, RejectedError
from anytune.local import base_model, judge, settings, speakers, spread
from anytune.local import start as starts
from anytune.local.confine import confined
from anytune.local.copying import copy_checked
from anytune.local.memory import estimate, foresee
from anytune.local.parent import answered
from anytune.local.processes import demand_packages, start_worker, terminate, worker_command, worker_environment
from anytune.local.runs import SAFE_ID, Run, is_held, new_run, take_lock, write_json
from anytune.local.target import TARGETS
from anytune.local.training import checkpoint
from anytune.local.training.events import read_events
from anytune.providers.base import Generator, Profile
from anytune.schema.data import DataFile, DataReport
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities, ResourceEstimate
from anytune.schema.spec import TuneSpec

if TYPE_CHECKING:
    from anytune.local.engine import Engine

STATES = {
    "queued": JobState.QUEUED,
    "running": JobState.RUNNING,
    "cancelling": JobState.CANCELLING,
    "interrupted": JobState.PAUSED,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}


class LocalProvider:
    """Fine-tune on this machine."""

    name = "local"

    def __init__(self, profile: Profile) -> None:
        self.home = profile.home.absolute()
        self.timeout = profile.upload_timeout
        self.processes = profile.processes
        self.shard = profile.shard
        self.machines = profile.machines

    def capabilities(self, model: str) -> Capabilities:
        """Look at the model's folder, or the cached copy of a hub id, and say what stands against it."""
        folder, context = base_model.locate(model), settings.context(model)
        problems, notes = list(base_model.problems(folder)) if folder else [], []
        if folder is None and base_model.is_hub_id(model):
            notes.append("will be fetched from the hub before training (never with a data.residency)")
        elif folder is None:
            problems.append(f"no such folder: {model}")
        if not problems or folder is not None:
            notes += [why] if (why := estimate.doubt(model)) else []
        return Capabilities(
            provider=self.name,
            model=model,
            known=True,
            methods=settings.METHODS,
            settings=settings.within(settings.RULES, context),
            local=True,
            regions=("local",),
            max_length=context,
            weights_downloadable=True,
            cancelling=catalog.load(self.name).cancelling,
            problems=tuple(problems),
            settings_source="anytune's own trainer",
            fetches="the base model" if folder is None and not problems else None,
            notes=tuple(notes),
        )

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Write out the run with every default made explicit."""
        model, start = settings.local_model(spec), self._start(spec)
        residency = {"residency": "local"} if spec.data.residency == "local" else {}
        self._require_named(residency)
        return {
            "job_id": job_id,
            "model": settings.stable_name(model),
            "offline": bool(residency) or base_model.locate(model) is not None,
            **residency,
            "method": spec.method,
            "suffix": spec.suffix,
            "training": self._training(spec, start),
            **({"from_checkpoint": start.request()} if start is not None else {}),
            **({"rewards": settings.rewards(spec, self.home)} if spec.rewards else {}),
            "training_file": training_file,
            "validation_file": validation_file,
            "checkpoint_seconds": 15,
        }

    def upload(self, file: DataFile) -> str:
        """Copy the file under its SHA-256; a file that changed since it was checked is refused."""
        folder = self.home / "files"
        private.folder(folder)
        target = folder / file.sha256
        if not (target.is_file() and checkpoint.sha256(target) == file.sha256):
            copy_checked(file, target)
        return f"file-{file.sha256}"

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Make the run folder and start its worker; a folder that is there already is taken up."""
        job_id = str(request["job_id"])
        if SAFE_ID.fullmatch(job_id) is None:
            raise RejectedError(f"{job_id!r} cannot name a run folder", param="job_id")
        demand_packages()
        self._require_named(request)
        run, lock = new_run(self.home / "runs", job_id, request)
        if lock is None:
            if run.request() != request:
                raise RejectedError(f"run {job_id} exists with another request", param="job_id")
            if run.pid() is None and run.result() is None:  # made by a process that died before the next line
                lock = take_lock(run.path)
        if lock is not None:
            start_worker(run, lock, parted=self._told())
        return self.retrieve(job_id)

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Read from the folder how the run stands."""
        run = self._run(remote_id)
        status, result = stand(run)
        request = run.request()
        error = result.get("error")
        if status == "interrupted":
            at = checkpoint.newest(run.path / "checkpoints")
            error = f"the worker is gone; resume goes on from step {at.step if at else 0}"
        elif error and result.get("fix"):
            error = f"{error}; {result['fix']}"
        ended = result.get("finished_at")
        return RemoteJob(
            id=run.id,
            status=status,
            state=STATES[status],
            base=request.get("model"),
            model=result.get("model_path"),
            error=error,
            cause=result.get("cause"),
            created_at=datetime.fromtimestamp((run.path / "request.json").stat().st_mtime, UTC),
            finished_at=datetime.fromisoformat(ended) if ended else None,
            trained_tokens=result.get("trained_tokens"),
            training_file=request.get("training_file"),
            seen_job_id=request.get("job_id"),
        )

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Read from their folders how many runs stand; one without a folder is left out."""
        del since
        return {id: found for id in ids if (found := self.find(id)) is not None}

    def events(self, remote_id: str) -> list[Event]:
        """Read all events, oldest first."""
        return read_events(self._run(remote_id).path / "events.jsonl")

    def cancel(self, remote_id: str) -> RemoteJob:
        """Ask the worker to save and stop; a run whose worker is dead is marked cancelled."""
        run = self._run(remote_id)
        if run.result() is None:
            run.cancel_mark.touch()
            lock = take_lock(run.path)
            if lock is None:
                terminate(run)
            else:
                if run.result() is None:
                    now = datetime.now(UTC).isoformat()
                    write_json(run.path / "result.json", {"state": "cancelled", "finished_at": now})
                os.close(lock)
        return self.retrieve(remote_id)

    def find(self, job_id: str) -> RemoteJob | None:
        """Return the run of this job if its folder exists."""
        try:
            return self.retrieve(job_id)
        except NotFoundError:
            return None

    def resume(self, remote_id: str) -> RemoteJob:
        """Start a worker that goes on from the newest whole checkpoint; one that runs or succeeded is left alone."""
        run = self._run(remote_id)
        demand_packages()
        self._require_named(run.request())
        lock = take_lock(run.path)
        if lock is not None:
            if (run.result() or {}).get("state") == "succeeded":
                os.close(lock)
            else:
                for name in ("cancel", "result.json", "worker.pid"):
                    (run.path / name).unlink(missing_ok=True)
                start_worker(run, lock, parted=self._told())
        return self.retrieve(remote_id)

    def estimate(self, spec: TuneSpec, data: DataReport) -> ResourceEstimate | None:
        """Estimate time, memory and energy on this machine from the model's configuration."""
        training = self._training(spec, self._start(spec))
        return foresee.here(
            settings.local_model(spec), training, data, method=spec.method, **self._spread(spec, training)
        )

    def foresee(
        self, spec: TuneSpec, data: DataReport, *, gpus: Sequence[str], exact: bool
    ) -> tuple[ResourceEstimate | None, ...]:
        """Estimate for this machine and for each GPU of a name; `exact` takes a step of the model without weights."""
        if exact:
            demand_packages()
        training = self._training(spec, self._start(spec))
        model, parted = settings.local_model(spec), self._spread(spec, training)
        return foresee.everywhere(model, training, data, method=spec.method, gpus=gpus, exact=exact, **parted)

    def generator(self, *, base: str, tuned: TunedModel | None, beside: TunedModel | None = None) -> Generator:
        """Start a process that answers with the tuned model, or with the base alone; see `speakers.one`."""
        demand_packages()
        return speakers.one(base, tuned, beside)

    def endpoint(self, tuned: Mapping[str, TunedModel]) -> Engine:
        """Make one process ready that answers with each of these models; see `speakers.many`."""
        demand_packages()
        return speakers.many(tuned)

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        """Write the adapter, or base and adapter merged into one ordinary model, and return the manifest."""
        demand_packages()
        if to not in TARGETS:
            raise RejectedError(f"local exports {', '.join(TARGETS)}, not {to!r}", param="to")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RejectedError(f"{out} is there already and not empty", fix="name a new folder", param="out")
        command = worker_command("export", "--tuned", tuned.path or tuned.name, "--to", to, "--out", str(out))
        done = answered(confined(command), worker_environment())
        manifest = base_model.read(out / "manifest.json")
        if done.returncode != 0 or manifest is None:
            lines = done.stderr.strip().splitlines() or [f"the worker ended with status {done.returncode}"]
            raise ProviderError(f"export failed: {lines[-1]}")
        return manifest

    def _told(self) -> dict[str, str]:
        """Return what a worker is told of over what its run is spread."""
        return spread.told(self.processes, self.shard, self.machines)

    def _require_named(self, request: Mapping[str, Any]) -> None:
        """Refuse before anything is made or taken away what `start_worker` would refuse."""
        spread.require_named({**os.environ, **self._told()}, request)

    def _spread(self, spec: TuneSpec, training: Mapping[str, Any]) -> dict[str, Any]:
        """Return over what a run is spread, as the plan reckons with it."""
        told = {**os.environ, **self._told()}
        return {} if spec.method == "rft" else spread.reckoned(told, training)

    def _training(self, spec: TuneSpec, start: starts.Start | None) -> dict[str, Any]:
        """Return the settings with all defaults, and what stands in memory besides."""
        beside = judge.held_bytes(spec, self.home)
        return settings.resolve(spec, start) | ({"beside_bytes": beside} if beside else {})

    def _start(self, spec: TuneSpec) -> starts.Start | None:
        """Return the adapter that a job goes on from."""
        return starts.of(spec, self.home, model=settings.local_model(spec))

    def _run(self, remote_id: str) -> Run:
        """Return the run folder of this id."""
        run = Run(self.home / "runs" / remote_id)
        if SAFE_ID.fullmatch(remote_id) is None or not (run.path / "request.json").is_file():
            raise NotFoundError(f"there is no run {remote_id} under {self.home}")
        return run


def stand(run: Run) -> tuple[str, dict[str, Any]]:
    """Return the run's status word and its result, which is empty while there is none."""
    held = is_held(run.path)  # asked first: a worker writes its result before it lets go
    result = run.result()
    if result is not None:
        return str(result["state"]), result
    if not held:  # one that was killed while it was being cancelled is as good as cancelled
        return ("cancelled" if run.cancel_mark.exists() else "interrupted"), {}
    if run.cancel_mark.exists():
        return "cancelling", {}
    return ("queued" if run.pid() is None else "running"), {}
