"""What the tests of Hugging Face Jobs share: the provider on its stand-in, and the contract's rig."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anytune.local.hf_jobs import HFJobsProvider
from anytune.providers.base import Profile
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.providers._roots import one_root
from tests.stubs.hub import NAMESPACE, HubStub

MODEL = "acme/tiny-chat"
JOB_ID = "english-to-sql-7f3a9c2b10"
JOBS = f"/api/jobs/{NAMESPACE}"
CREATE, LIST, LOOK = f"POST {JOBS}", f"GET {JOBS}", f"GET {JOBS}/*"
REPOSITORY = f"/api/datasets/{NAMESPACE}/anytune-jobs"
PUT = "PUT /storage/*"


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """Serve the stand-in, to a library that is allowed to reach it."""
    one_root(folder, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with HubStub() as stub:
        yield stub


class HubRig:
    """Drive Hugging Face Jobs' provider, on its stand-in, through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path, stub: HubStub, **settings: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        self.provider = HFJobsProvider(self.profile(**settings))

    def profile(self, **settings: Any) -> Profile:
        told = {"account": NAMESPACE, "key": lambda: self.key, "base_url": self.stub.base_url, **settings}
        return Profile(name="hf-jobs", home=self.folder, **told)

    def spec(self, **changes: Any) -> TuneSpec:
        sample = sample_spec(self.file(), provider="hf-jobs", model=MODEL)
        return TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self, pattern: str = "*") -> int:
        return len(self.stub.calls(pattern))

    def received(self) -> dict[str, Any]:
        body = self.stub.calls(CREATE)[-1].json
        env = dict(body["environment"])
        run = json.loads(env.pop("ANYTUNE_RUN"))
        env.pop("ANYTUNE_REPO"), env.pop("ANYTUNE_CODE")
        job = {
            "image": body["dockerImage"],
            "command": body["command"],
            "flavor": body["flavor"],
            "timeout": body["timeoutSeconds"],
            "labels": body["labels"],
            "env": env,
        }
        return {"run": run, "job": job}

    def told(self, remote_id: str) -> int:
        return self.stub.told(remote_id.rpartition("/")[2])

    def without_key(self) -> HFJobsProvider:
        return HFJobsProvider(self.profile(key=no_key))

    def finish(self, remote_id: str) -> None:
        self.stub.finish(hub_id(remote_id))

    def break_next(self, act: str, fault: Fault) -> None:
        pattern = {"create": CREATE, "find": LIST}.get(act, LOOK)
        if fault == "lost-answer":
            self.stub.drop_next(pattern, when="after")
        elif fault == "rate-limit":
            self.stub.fail_next(pattern, status=429, headers={"ratelimit": '"api";r=0;t=7'})
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


def hub_id(remote_id: str) -> str:
    """Return the Hub's own id of a job's first attempt."""
    return remote_id.split("/")[1]
