"""What runs on the cluster: fetch the run, have the worker train it, bring what it leaves to the depot.

python -m anytune.local.ray_job

The environment says what to do: ANYTUNE_RUN, ANYTUNE_DEPOT, and ANYTUNE_SECONDS where the time is bounded.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from anytune.errors import UnavailableError, UsageError
from anytune.local.base_model import is_hub_id, locate
from anytune.local.elsewhere.courier import Pace, conducted
from anytune.local.elsewhere.depot import DepotShelf, opened
from anytune.local.processes import demand_packages
from anytune.local.ray_jobs.request import NAME

PACE = Pace(events=2.0, checkpoints=60.0)


def main() -> int:
    """Carry out the run that the environment names."""
    home, run = Path(tempfile.mkdtemp(prefix="anytune-run-")), json.loads(os.environ["ANYTUNE_RUN"])
    shelf = DepotShelf(opened(os.environ["ANYTUNE_DEPOT"], provider=NAME), run["job_id"])
    bound = os.environ.get("ANYTUNE_SECONDS")
    return conducted(
        run, shelf, home, pace=PACE, seconds=float(bound) if bound else None, bring=config_of, require=require
    )


def require(model: str) -> None:
    """Raise `UsageError` where this machine lacks the packages, or the model's folder."""
    try:
        demand_packages()
    except UsageError as error:
        said = f"{sys.executable} on {os.uname().nodename} has not all packages: {error.message}"
        raise UsageError(said, fix="set profiles.ray.cluster.python to an interpreter with anytune[local]") from error
    if locate(model) is None and not is_hub_id(model):
        raise UsageError(f"{os.uname().nodename} has no model folder {model}", fix="put it where all machines see it")


def config_of(model: str) -> None:
    """Fetch what says how much the base model can hold."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(model, "config.json")
    except Exception as error:  # the library's own, and its client's
        raise UnavailableError(f"{model} cannot be fetched from the Hub: {type(error).__name__}") from error


if __name__ == "__main__":
    sys.exit(main())
