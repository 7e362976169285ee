"""What the tests of the Together provider share: the provider on its stand-in, and the contract's rig."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anytune.providers.base import Profile
from anytune.providers.together import TogetherProvider
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.providers._roots import one_root
from tests.stubs.together import TogetherStub

MODEL = "Qwen/Qwen3.5-9B"
JOB_ID = "english-to-sql-7f3a9c2b10"
CREATE = "POST /v1/fine-tunes"
LIST = "GET /v1/fine-tunes"
PUT = "PUT /storage/*"


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherStub]:
    """Serve the stand-in."""
    one_root(folder, monkeypatch)
    with TogetherStub() as stub:
        yield stub


class TogetherRig:
    """Drive Together's provider, on its stand-in, through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path, stub: TogetherStub, **settings: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        self.provider = TogetherProvider(
            Profile(name="together", home=folder, key=lambda: self.key, base_url=stub.base_url, **settings)
        )

    def spec(self, **changes: Any) -> TuneSpec:
        sample = sample_spec(self.file(), provider="together", model=MODEL)
        return TuneSpec.model_validate({**sample.model_dump(mode="json", exclude_unset=True), **changes})

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self, pattern: str = "*") -> int:
        return len(self.stub.calls(pattern))

    def received(self) -> dict[str, Any]:
        body: dict[str, Any] = self.stub.calls(CREATE)[-1].json
        return body

    def told(self, remote_id: str) -> int:
        return self.stub.told(remote_id) + len(self.stub.figures(remote_id))

    def without_key(self) -> TogetherProvider:
        return TogetherProvider(Profile(name="together", home=self.folder, key=no_key, base_url=self.stub.base_url))

    def finish(self, remote_id: str) -> None:
        self.stub.finish(remote_id)

    def break_next(self, act: str, fault: Fault) -> None:
        pattern = CREATE if act == "create" else "GET /v1/fine-tunes/*"
        if fault == "lost-answer":
            self.stub.drop_next(pattern, when="after")
        elif fault == "rate-limit":
            self.stub.fail_next(pattern, status=429, headers={"Retry-After": "7"})
        elif fault == "server-error":
            self.stub.fail_next(pattern, status=503)
        elif fault == "garbage":
            self.stub.html_next(pattern, when="after")
        elif fault == "blind-list":
            self.stub.fail_next(LIST, status=503)
        elif fault == "wrong-key":
            self.stub.key = "another-key"
        else:
            self.stub.life = ("meditating",) * 9

    def request(self, job_id: str = JOB_ID, *, training_file: str | None = None, **changes: Any) -> dict[str, Any]:
        """Render the sample job, on data that were uploaded and validated before if no file is given."""
        file_id = training_file or self.stub.hold(self.file().path.read_bytes())
        return self.provider.render(self.spec(**changes), job_id=job_id, training_file=file_id, validation_file=None)

    def start(self, job_id: str = JOB_ID) -> str:
        """Create the sample job and return its id at the provider."""
        return self.provider.create(self.request(job_id)).id
