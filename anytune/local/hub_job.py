"""What runs on the rented machine: fetch the run, have the worker train it, bring what it leaves to the repository.

python -m anytune.local.hub_job

The environment says what to do (ANYTUNE_RUN, ANYTUNE_REPO, ANYTUNE_SECONDS) and has the key (HF_TOKEN).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from anytune.local.elsewhere.courier import Pace, conducted
from anytune.local.hf_jobs import download as downloads
from anytune.local.hf_jobs.fault import mapped
from anytune.local.hf_jobs.gateway import Hub
from anytune.local.hf_jobs.request import NAME
from anytune.providers.base import Profile

# The Hub takes 128 commits to a repository in an hour, from all of a user's jobs together.
PACE = Pace(events=120.0, checkpoints=900.0)


class HubShelf:
    """Keep a run's files in its folder of the repository: each write is one commit."""

    def __init__(self, hub: Hub, repository: str, job_id: str) -> None:
        self._hub, self._repository, self._job_id = hub, repository, job_id
        self._listed: dict[str, Any] = {}

    def names(self) -> Collection[str]:
        """List the run's files."""
        folder = f"jobs/{self._job_id}"
        found = self._hub.listed(self._repository, folder, act="look for what was left")
        self._listed = {entry.path.removeprefix(f"{folder}/"): entry for entry in found}
        return self._listed

    def fetch(self, name: str, path: Path) -> None:
        """Bring one of the files that were listed."""
        downloads.fetch(self._hub, self._repository, self._listed[name], path)

    def fetch_data(self, digest: str, path: Path) -> None:
        """Bring the data of this hash."""
        entry = self._hub.entry(self._repository, f"files/{digest}.jsonl", act="fetch the data")
        downloads.fetch(self._hub, self._repository, entry, path)

    def write(self, files: Mapping[str, Path], *, gone: Sequence[str], message: str) -> None:
        """Write files and take folders away, all at once."""
        self._hub.commit(
            self._repository,
            {f"jobs/{self._job_id}/{name}": path for name, path in files.items()},
            gone=[f"jobs/{self._job_id}/{name}" for name in gone],
            message=f"{self._job_id}: {message}",
        )


def main() -> int:
    """Carry out the run that the environment names."""
    home, run = Path(tempfile.mkdtemp(prefix="anytune-run-")), json.loads(os.environ["ANYTUNE_RUN"])
    address, key = os.environ.get("HF_ENDPOINT"), os.environ["HF_TOKEN"]
    hub = Hub(Profile(name=NAME, home=home, key=lambda: key, base_url=address))
    shelf = HubShelf(hub, os.environ["ANYTUNE_REPO"], run["job_id"])
    return conducted(run, shelf, home, pace=PACE, seconds=float(os.environ["ANYTUNE_SECONDS"]), bring=config_of)


def config_of(model: str) -> None:
    """Fetch what says how much the base model can hold."""
    from huggingface_hub import hf_hub_download

    with mapped("fetch the base model", secret=os.environ["HF_TOKEN"]):
        hf_hub_download(model, "config.json")


if __name__ == "__main__":
    sys.exit(main())
