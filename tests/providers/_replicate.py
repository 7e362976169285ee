"""What the tests of the Replicate provider share: the provider on its stand-in, and the contract's rig."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anytune.providers.base import Profile
from anytune.providers.replicate import ReplicateProvider
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.providers._roots import one_root
from tests.stubs.replicate import TRAINER, VERSION, ReplicateStub

MODEL = f"{TRAINER}:{VERSION}"
JOB_ID = "english-to-sql-7f3a9c2b10"
MADE = f"at-{JOB_ID}"
CREATE = "POST /v1/models/*/versions/*/trainings"
LOOK = "GET /v1/trainings/*"
LIST = "GET /v1/trainings"
UPLOAD = "POST /v1/files"
MAKE = "POST /v1/models"


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateStub]:
    """Serve the stand-in."""
    one_root(folder, monkeypatch)
    with ReplicateStub() as stub:
        yield stub


class ReplicateRig:
    """Drive Replicate's provider, on its stand-in, through the contract."""

    supports: frozenset[Fault] = frozenset(
        (
            "lost-answer",
            "rate-limit",
            "server-error",
            "garbage",
            "wrong-key",
            "unknown-word",
            "blind-list",
            "small-pages",
        )
    )

    def __init__(self, folder: Path, stub: ReplicateStub, **settings: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        self.provider = ReplicateProvider(
            Profile(name="replicate", home=folder, key=lambda: self.key, base_url=stub.base_url, **settings)
        )

    def spec(self, **changes: Any) -> TuneSpec:
        sample = sample_spec(self.file(), provider="replicate", model=MODEL)
        return TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self, pattern: str = "*") -> int:
        return len(self.stub.calls(pattern))

    def received(self) -> dict[str, Any]:
        call, made = self.stub.calls(CREATE)[-1], self.stub.calls(MAKE)[-1]
        _, _, _, owner, name, _, version, _ = call.path.split("/")
        model = {key: value for key, value in made.json.items() if key != "owner"}
        assert call.json["destination"] == f"{made.json['owner']}/{model['name']}"
        return {"trainer": f"{owner}/{name}:{version}", "model": model, "input": call.json["input"]}

    def told(self, remote_id: str) -> int:
        job = self.stub.jobs[remote_id]
        return 1 + job["logs"].count("\n") + bool(job["completed_at"])

    def without_key(self) -> ReplicateProvider:
        return ReplicateProvider(Profile(name="replicate", home=self.folder, key=no_key, base_url=self.stub.base_url))

    def finish(self, remote_id: str) -> None:
        self.stub.finish(remote_id)

    def break_next(self, act: str, fault: Fault) -> None:
        pattern = {"create": CREATE, "find": LIST}.get(act, LOOK)
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
        elif fault == "small-pages":
            self.stub.page = 1
        else:
            self.stub.life = ("meditating",) * 9

    def request(self, job_id: str = JOB_ID, *, training_file: str | None = None, **changes: Any) -> dict[str, Any]:
        """Render the sample job, on data that are uploaded if none are given."""
        address = training_file or self.provider.upload(self.file())
        return self.provider.render(self.spec(**changes), job_id=job_id, training_file=address, validation_file=None)

    def start(self, job_id: str = JOB_ID, **changes: Any) -> str:
        """Create the sample job and return its id at the provider."""
        return self.provider.create(self.request(job_id, **changes)).id
