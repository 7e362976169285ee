"""What the tests of the Fireworks provider share: the provider on its stand-in, and the contract's rig."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anytune.providers.base import Profile
from anytune.providers.fireworks import FireworksProvider
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.providers._roots import one_root
from tests.stubs.fireworks import ACCOUNT, FireworksStub

MODEL = "qwen3p5-9b"
JOB_ID = "english-to-sql-7f3a9c2b10"
JOBS = f"accounts/{ACCOUNT}/supervisedFineTuningJobs"
NAME = f"{JOBS}/at-{JOB_ID}"
CREATE = f"POST /v1/{JOBS}"
LOOK = "GET /v1/*Jobs/*"
DATASETS = f"POST /v1/accounts/{ACCOUNT}/datasets"
PLACE = "POST /v1/*:getUploadEndpoint"
PUT = "PUT /storage/*"
VALIDATE = "POST /v1/*:validateUpload"
WEIGHTS = "GET /storage/*"


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FireworksStub]:
    """Serve the stand-in."""
    one_root(folder, monkeypatch)
    with FireworksStub() as stub:
        yield stub


class FireworksRig:
    """Drive Fireworks' provider, on its stand-in, through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path, stub: FireworksStub, **settings: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        profile = {"account": ACCOUNT, **settings}
        self.provider = FireworksProvider(
            Profile(name="fireworks", home=folder, key=lambda: self.key, base_url=stub.base_url, **profile)
        )

    def spec(self, **changes: Any) -> TuneSpec:
        sample = sample_spec(self.file(), provider="fireworks", model=MODEL)
        return TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self, pattern: str = "*") -> int:
        return len(self.stub.calls(pattern))

    def received(self) -> dict[str, Any]:
        call = self.stub.calls(CREATE)[-1]
        return {"collection": call.path.rpartition("/")[2], "id": next(iter(call.query.values())), "body": call.json}

    def told(self, remote_id: str) -> int:
        return 2 if self.stub.jobs[remote_id].get("completedTime") else 1  # the service dates its beginning and end

    def without_key(self) -> FireworksProvider:
        return FireworksProvider(
            Profile(name="fireworks", home=self.folder, key=no_key, base_url=self.stub.base_url, account=ACCOUNT)
        )

    def finish(self, remote_id: str) -> None:
        self.stub.finish(remote_id)

    def break_next(self, act: str, fault: Fault) -> None:
        pattern = CREATE if act == "create" else LOOK
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
            self.stub.life = ("JOB_STATE_MEDITATING",) * 9

    def request(self, job_id: str = JOB_ID, *, training_file: str | None = None, **changes: Any) -> dict[str, Any]:
        """Render the sample job, on data that were uploaded and validated before if none are given."""
        name = training_file or self.stub.hold(self.file().path.read_bytes())
        return self.provider.render(self.spec(**changes), job_id=job_id, training_file=name, validation_file=None)

    def start(self, job_id: str = JOB_ID, **changes: Any) -> str:
        """Create the sample job and return its name at the provider."""
        return self.provider.create(self.request(job_id, **changes)).id


def pairs_file(folder: Path) -> DataFile:
    """Write pairs of a better and a worse answer and return them as checked data."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"What is {n} plus {n}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"{n + n}."}],
            "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
        }
        for n in range(4)
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = folder / "pairs.jsonl"
    path.write_bytes(data)
    return DataFile(role="train", path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), examples=4)
