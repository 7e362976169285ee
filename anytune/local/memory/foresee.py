"""Foretell a run on this machine and on GPUs that are named: by arithmetic, or by a step of the real model class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from anytune.errors import UsageError
from anytune.local.base_model import locate
from anytune.local.machine import Hardware, hardware
from anytune.local.memory import fit, gpu, ladder
from anytune.local.memory.estimate import Job, estimate, job_of, shape_of, told
from anytune.local.memory.fit import Need, Way
from anytune.local.memory.shape import Shape
from anytune.local.processes import worker_answer
from anytune.schema.data import DataReport
from anytune.schema.plan import ResourceEstimate
from anytune.schema.training import Method

TRIES = 4  # steps that are taken at most to find a way that fits


def here(
    model: str,
    training: Mapping[str, Any],
    data: DataReport,
    *,
    method: Method = "sft",
    processes: int = 1,
    machines: int = 1,
    shards: tuple[int, ...] = (1,),
) -> ResourceEstimate | None:
    """Estimate a run on this machine, None if the configuration or the data are not at hand."""
    job = job_of(model, training, data, method=method, shards=shards)
    return estimate(job, hardware(processes, machines)) if job is not None else None


def everywhere(
    model: str,
    training: Mapping[str, Any],
    data: DataReport,
    *,
    method: Method,
    gpus: Sequence[str],
    exact: bool,
    processes: int = 1,
    machines: int = 1,
    shards: tuple[int, ...] = (1,),
) -> tuple[ResourceEstimate | None, ...]:
    """Estimate a run on this machine, then on each kind of GPU, of which each process has one.

    All names are looked up before anything is reckoned.
    """
    seen = [hardware(processes, machines), *(gpu.named(name).alone(processes, machines) for name in gpus)]
    job = job_of(model, training, data, method=method, shards=shards)
    if job is None:
        return tuple(None for _ in seen)
    if exact:
        return tuple(measured(job, machine) for machine in seen)
    return tuple(estimate(job, machine) for machine in seen)


def measured(job: Job, machine: Hardware) -> ResourceEstimate:
    """Estimate a run by one step of the real model class, going down the ladder until it fits."""
    folder = locate(job.model)
    if folder is None:
        raise UsageError(f"--exact needs the config.json of {job.model}, which is not on this machine")
    shape = shape_of(job.model)
    way = ladder.chosen(shape, job.work, machine) if shape is not None else ladder.blind(job.work, machine)
    bounds = fit.BOUNDS["exact"]
    for _ in range(TRIES):
        answer = step(folder.as_posix(), job, way)
        found = shape or counted(answer)
        need = counted_need(shape, job, way, answer)
        below = ladder.lower(way, job.work, tokens=ladder.divisible(way, job.work))
        if need.peak(machine.device) * bounds[1] <= machine.memory or below is None:
            break
        way = below
    return told(job, found, machine, way, need, bounds, exact=True)


def counted_need(shape: Shape | None, job: Job, way: Way, answer: Mapping[str, int]) -> Need:
    """Return what was counted, with what is lost beside tensors: as reckoned, or at the most, for unknown sizes."""
    step = answer["peak"] - answer["still"]
    elsewhere = fit.elsewhere(shape.linear if shape is not None else answer["linear"], way)
    still = answer["still"] + job.work.training.get("beside_bytes", 0) - elsewhere
    if shape is None:
        return Need(still, step, fit.HOLES * step + fit.left_by_opening(answer["parameters"]))
    lost = fit.need(shape, job.work.training, way, job.largest(way)).lost
    return Need(still, step + fit.gathered(shape, way), lost)


def step(folder: str, job: Job, way: Way) -> dict[str, int]:
    """Have a worker take the step, and return what it counted."""
    largest = job.largest(way)
    rows = -(-largest.tokens // int(job.work.training["max_length"]))
    asked = {
        "training": dict(job.work.training),
        "way": asdict(way),
        "rows": rows,
        "length": -(-largest.tokens // rows),
        "supervised": max(1, largest.supervised),
    }
    return worker_answer("fit", "--model", folder, "--asked", json.dumps(asked))


def counted(answer: Mapping[str, int]) -> Shape:
    """Return a shape with as many weights as were counted, where the configuration's sizes say nothing."""
    return Shape(
        hidden=0,
        inner=0,
        layers=answer["layers"],
        heads=0,
        kv_heads=0,
        head_dim=0,
        vocabulary=0,
        tied=True,
        counted=(answer["linear"], answer["parameters"] - answer["linear"]),
    )
