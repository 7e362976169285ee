"""What the tests of the OpenAI provider share: a provider at the stand-in, data files, a job on its way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.schema.data import DataFile, Role
from anytune.schema.job import RemoteJob
from anytune.schema.spec import DataSpec, TuneSpec
from tests.stubs.openai import OpenAIStub

MODEL = "gpt-4.1-mini-2025-04-14"
JOBS = "POST /v1/fine_tuning/jobs"
ANY_JOB = "GET /v1/fine_tuning/jobs/*"
LIST = "GET /v1/fine_tuning/jobs"


def profile(stub: OpenAIStub, **changes: Any) -> Profile:
    settings = {"name": "openai", "home": Path("/nowhere"), "key": lambda: stub.key, "base_url": stub.base_url}
    return Profile(**{**settings, "timeout": 10.0, "upload_timeout": 10.0, **changes})


def provider(stub: OpenAIStub, **changes: Any) -> OpenAIProvider:
    """Make a provider at the stand-in, which plays the provider's own host unless the profile is like one."""
    made = OpenAIProvider(profile(stub, **changes))
    if "like" not in changes:
        vars(made._speech)["moved"] = False
    return made


def spec(**changes: Any) -> TuneSpec:
    given = {"name": "tides", "provider": "openai", "model": MODEL, "data": DataSpec(train=Path("t.jsonl"))}
    return TuneSpec.model_validate({**given, **changes})


def chats(count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Tide {number}?"},
                {"role": "assistant", "content": f"{number} m 🌊"},
            ]
        }
        for number in range(count)
    ]


def data_file(folder: Path, rows: list[dict[str, Any]], role: Role = "train", *, bom: bool = False) -> DataFile:
    path = folder / f"{role}.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    raw = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    path.write_bytes(raw)
    sha256 = hashlib.sha256(raw).hexdigest()
    return DataFile(role=role, path=path, sha256=sha256, bytes=len(raw), examples=len(rows))


def request(at: OpenAIProvider, file_id: str, *, job_id: str = "tides-1", **changes: Any) -> dict[str, Any]:
    return at.render(spec(**changes), job_id=job_id, training_file=file_id, validation_file=None)


def started(at: OpenAIProvider, folder: Path, *, job_id: str = "tides-1", **changes: Any) -> RemoteJob:
    """Upload twelve examples and create a job."""
    return at.create(request(at, at.upload(data_file(folder, chats(12))), job_id=job_id, **changes))


def ended(at: OpenAIProvider, job: RemoteJob) -> RemoteJob:
    """Ask until the job ends, or has been asked 20 times."""
    for _ in range(20):
        job = at.retrieve(job.id)
        if job.state.is_terminal:
            break
    return job
