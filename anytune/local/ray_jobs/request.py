"""What is sent to Ray: the run as the local trainer reads it, and the job that carries it out."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from anytune import catalog
from anytune.config import is_here
from anytune.errors import UsageError
from anytune.local import settings
from anytune.local.base_model import is_hub_id
from anytune.local.spread import PROCESSES
from anytune.providers.base import Profile
from anytune.schema.cluster import Cluster
from anytune.schema.spec import TuneSpec

NAME = "ray"
MARK = "anytune_job"  # metadata that carries our job id
DIGEST = "anytune_request"  # metadata by which a repeated create knows its own job
AGAIN = "--again-"  # between a job's id and the number of an attempt after the first
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STOP_SECONDS = 120  # for which Ray waits before it kills: its own 3 s are too few to save a large model's state


def render(
    spec: TuneSpec, profile: Profile, *, job_id: str, training_file: str, validation_file: str | None
) -> dict[str, Any]:
    """Return the run with every default made explicit, and the job as Ray takes it, but for the code's address."""
    asked, machines = spec.model_copy(update={"models": {}}), cluster(profile)
    bound = {} if profile.hours is None else {"ANYTUNE_SECONDS": str(int(profile.hours * 3600))}
    several = {PROCESSES: str(machines.gpus)} if machines.gpus > 1 else {}
    return {
        "run": {
            "job_id": job_id,
            "model": spec.model,
            "offline": not is_hub_id(spec.model),
            "method": spec.method,
            "suffix": spec.suffix,
            "training": {**settings.resolve(asked), **_open_length(asked)},
            "training_file": training_file,
            "validation_file": validation_file,
            "checkpoint_seconds": 60,
            "event_seconds": 2,
        },
        "job": {
            "entrypoint": f"exec {shlex.quote(machines.python)} -m anytune.local.ray_job",
            "submission_id": job_id,
            **({"entrypoint_num_gpus": machines.gpus} if machines.gpus else {}),
            "metadata": {MARK: job_id},
            "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), **bound, **several}},
        },
    }


def _open_length(spec: TuneSpec) -> dict[str, str]:
    """Leave the length to the job where only the model says how much it can hold, and the model is not at hand."""
    unknown = spec.training.max_length == "auto" and settings.context(spec.model) is None
    return {"max_length": "auto"} if unknown else {}


def submission(request: dict[str, Any], *, folder: str, code: str, attempt: int = 1) -> dict[str, Any]:
    """Return the body of the call that starts an attempt: the job with its code, its run and its depot."""
    job, run = request["job"], json.dumps(request["run"], sort_keys=True)
    env = {**job["runtime_env"]["env_vars"], "ANYTUNE_RUN": run, "ANYTUNE_DEPOT": folder}
    return {
        **job,
        "submission_id": job["submission_id"] if attempt == 1 else f"{job['submission_id']}{AGAIN}{attempt}",
        "metadata": {**job["metadata"], DIGEST: digest(request)},
        "runtime_env": {"working_dir": code, "env_vars": env},
    }


def digest(request: dict[str, Any]) -> str:
    """Return what tells one request from another."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def cluster(profile: Profile) -> Cluster:
    """Return what the profile says of the cluster; a place that is not said is found out of by `problems`."""
    return profile.cluster or Cluster(folder="/")


def folder(profile: Profile) -> str:
    """Return where the files lie; raise `UsageError` where the profile does not say."""
    if profile.cluster is None:
        raise UsageError(no_folder(), fix="set it in your own config.yaml")
    return profile.cluster.folder


def no_folder() -> str:
    """Say what is missing."""
    return "profiles.ray.cluster.folder is not set: where do this machine and the cluster both see files?"


def address(profile: Profile) -> str:
    """Return where Ray's dashboard answers."""
    return (profile.base_url or catalog.load(NAME).base_url or "").rstrip("/")


def unsafe(url: str) -> str | None:
    """Say why nothing goes to an address: beyond this machine it must be by TLS; None if it may."""
    if is_here(url):
        return None
    at = urlsplit(url)
    if at.scheme == "https" and at.hostname:
        return None
    return (
        f"profiles.ray.base_url: {at.scheme or 'no scheme'}://{at.hostname or ''} would carry token and code in the "
        "clear: put TLS before it, or reach it by a tunnel (ssh -L 8265:localhost:8265 HEAD)"
    )


def checked_id(job_id: str) -> str:
    """Return the job id if it can name a job and its folder there; raise `UsageError` for another."""
    if SAFE_ID.fullmatch(job_id) is None or AGAIN in job_id:
        raise UsageError(f"{job_id!r} cannot name a job of Ray's")
    return job_id
