"""What the tests of Ray share: the provider on its stand-in, and the contract's rig."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anytune.local.ray_jobs import RayProvider
from anytune.providers.base import Profile
from anytune.schema.cluster import Cluster
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.stubs.ray import RayStub

MODEL = "acme/tiny-chat"
JOB_ID = "english-to-sql-7f3a9c2b10"
SUBMIT, LIST, LOOK = "POST /api/jobs/", "GET /api/jobs/", "GET /api/jobs/?*"
PACKAGE = "PUT /api/packages/*"


@contextmanager
def running(folder: Path) -> Iterator[RayStub]:
    """Serve the stand-in, with a depot of its own."""
    depot = folder / "depot"
    depot.mkdir()
    with RayStub(depot=depot) as stub:
        yield stub


class RayRig:
    """Drive Ray's provider, on its stand-in, through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path, stub: RayStub, **settings: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        self.provider = RayProvider(self.profile(**settings))

    def profile(self, *, cluster: dict[str, Any] | None = None, **settings: Any) -> Profile:
        machines = Cluster.model_validate({"folder": str(self.stub.depot), **(cluster or {})})
        told = {"key": lambda: self.key, "base_url": self.stub.base_url, "cluster": machines, **settings}
        return Profile(name="ray", home=self.folder, **told)

    def spec(self, **changes: Any) -> TuneSpec:
        sample = sample_spec(self.file(), provider="ray", model=MODEL)
        return TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self, pattern: str = "*") -> int:
        return len(self.stub.calls(pattern))

    def received(self) -> dict[str, Any]:
        body = json.loads(self.stub.calls(SUBMIT)[-1].body)
        assert body["runtime_env"].pop("working_dir").startswith("gcs://_ray_pkg_")
        assert body["metadata"].pop("anytune_request")
        env = body["runtime_env"]["env_vars"]
        assert env.pop("ANYTUNE_DEPOT") == str(self.stub.depot)
        return {"run": json.loads(env.pop("ANYTUNE_RUN")), "job": body}

    def told(self, remote_id: str) -> int:
        return self.stub.told(remote_id)

    def without_key(self) -> RayProvider:
        return RayProvider(self.profile(key=no_key))

    def finish(self, remote_id: str) -> None:
        self.stub.finish(remote_id)

    def break_next(self, act: str, fault: Fault) -> None:
        pattern = {"create": SUBMIT}.get(act, LOOK)
        if fault == "lost-answer":
            self.stub.drop_next(pattern, when="after")
        elif fault == "rate-limit":
            self.stub.fail_next(pattern, status=429, headers={"Retry-After": "7"})
        elif fault in ("server-error", "blind-list"):
            self.stub.fail_next(pattern, status=503)
        elif fault == "garbage":
            self.stub.html_next(pattern, when="after")
        elif fault == "wrong-key":
            self.stub.key = "another-key"
        else:
            self.stub.life = ("MEDITATING",) * 9

    def request(self, job_id: str = JOB_ID, **changes: Any) -> dict[str, Any]:
        """Render the sample job."""
        return self.provider.render(self.spec(**changes), job_id=job_id, training_file="file-1", validation_file=None)

    def start(self, job_id: str = JOB_ID, **changes: Any) -> str:
        """Create the sample job and return its id."""
        return self.provider.create(self.request(job_id, **changes)).id
