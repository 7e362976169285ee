"""What is sent to Hugging Face Jobs: the run as the local trainer reads it, and the machine and command it runs by."""

from __future__ import annotations

import hashlib
import json
import re
from difflib import get_close_matches
from typing import Any

from anytune import catalog
from anytune.errors import UsageError
from anytune.local import settings
from anytune.providers.base import Profile
from anytune.schema.spec import TuneSpec

NAME = "hf-jobs"
LABEL = "anytune-job"  # carries our job id, by which a job is found again
ID_LIMIT = 100
FLAVOR = "l4x1"  # the cheapest machine whose GPU computes in bfloat16 (24 GB)
HOURS = 4.0
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"  # what huggingface_hub itself takes for scripts with requirements
# The extras `local` and `hf-jobs` and what anytune itself needs in the job; a test holds them to pyproject.toml.
PACKAGES = (
    *("torch>=2.6", "transformers>=5.0,<6", "peft>=0.19,<1", "bitsandbytes>=0.49,<1", "accelerate>=1.0,<2"),
    *("safetensors>=0.4", "jinja2>=3.1", "huggingface_hub>=2.0,<3"),
    *("pydantic>=2.9,<3", "httpx>=0.27,<1", "tenacity>=9,<10", "PyYAML>=6,<7", "msgspec>=0.19,<1"),
)
# Fetches the code by its hash, and hands over to it; all that the image needs besides are the packages.
START = """\
import hashlib, os, runpy, sys, tempfile, zipfile
from huggingface_hub import hf_hub_download
code = hf_hub_download(os.environ["ANYTUNE_REPO"], os.environ["ANYTUNE_CODE"], repo_type="dataset")
with open(code, "rb") as file:
    if hashlib.file_digest(file, "sha256").hexdigest() not in os.environ["ANYTUNE_CODE"]:
        sys.exit("the code in the repository is not what it was named after")
folder = tempfile.mkdtemp(prefix="anytune-")
zipfile.ZipFile(code).extractall(folder)
sys.path.insert(0, folder)
os.environ["PYTHONPATH"] = folder
runpy.run_module("anytune.local.hub_job", run_name="__main__")
"""
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NOT_IN_LABELS = re.compile("[^A-Za-z0-9_-]")


def render(
    spec: TuneSpec, profile: Profile, *, job_id: str, training_file: str, validation_file: str | None
) -> dict[str, Any]:
    """Return the run with every default made explicit, and the arguments of the one call that starts the job."""
    asked, seconds = spec.model_copy(update={"models": {}}), int(hours(profile) * 3600)
    address = {"HF_ENDPOINT": profile.base_url.rstrip("/")} if profile.base_url else {}
    return {
        "run": {
            "job_id": job_id,
            "model": spec.model,
            "offline": False,  # the base model comes from the Hub
            "method": spec.method,
            "suffix": spec.suffix,
            "training": {**settings.resolve(asked), **_open_length(asked)},
            "training_file": training_file,
            "validation_file": validation_file,
            "checkpoint_seconds": 60,
            "event_seconds": 10,
        },
        "job": {
            "image": IMAGE,
            "command": command(),
            "flavor": flavor(profile),
            "timeout": seconds,
            "labels": {LABEL: label(job_id), "name": label(job_id)},
            "env": {"ANYTUNE_SECONDS": str(seconds), "HF_HUB_DISABLE_TELEMETRY": "1", **address},
        },
    }


def _open_length(spec: TuneSpec) -> dict[str, str]:
    """Leave the length to the job where only the model says how much it can hold, and the model is not at hand."""
    unknown = spec.training.max_length == "auto" and settings.context(spec.model) is None
    return {"max_length": "auto"} if unknown else {}


def command() -> list[str]:
    """Return what the job runs: our own trainer, with its packages put in by uv."""
    needed = [part for package in PACKAGES for part in ("--with", package)]
    return ["uv", "run", "--no-project", *needed, "python", "-c", START]


def environment(request: dict[str, Any], *, repository: str, code: str) -> dict[str, str]:
    """Return the variables that tell the job what it is to do; the key is none of them."""
    run = json.dumps(request["run"], sort_keys=True)
    return {**request["job"]["env"], "ANYTUNE_RUN": run, "ANYTUNE_REPO": repository, "ANYTUNE_CODE": code}


def hours(profile: Profile) -> float:
    """Return after how many hours a job is ended."""
    return HOURS if profile.hours is None else profile.hours


def flavor(profile: Profile) -> str:
    """Return which machine trains."""
    return profile.flavor or FLAVOR


def flavor_problem(name: str) -> str | None:
    """Say why there is no such machine, None if there is one."""
    known = catalog.load(NAME).flavors
    if name in known:
        return None
    near = get_close_matches(name, known, n=3, cutoff=0.3) or list(known)[:3]
    return f"hf-jobs has no machine {name!r} with one GPU or none: profiles.hf-jobs.flavor takes {', '.join(near)}, …"


def label(job_id: str) -> str:
    """Return the label of a job id, the same every time; labels hold letters, digits, - and _ alone."""
    plain = NOT_IN_LABELS.sub("-", job_id)
    return job_id if plain == job_id else f"{plain}_{hashlib.sha256(job_id.encode()).hexdigest()[:12]}"


def checked_id(job_id: str) -> str:
    """Return the job id if it can name a job and its folder there; raise `UsageError` for another."""
    if SAFE_ID.fullmatch(job_id) is None or len(job_id) > ID_LIMIT:
        raise UsageError(f"{job_id!r} cannot name a job at Hugging Face")
    return job_id
