"""A provider in memory: what the contract asks of one, and nothing more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from anytune.errors import (
    AmbiguousError,
    ConflictError,
    KeyRefusedError,
    MalformedAnswerError,
    NotFoundError,
    RateLimitedError,
)
from anytune.providers.base import ChatMessage, Profile, Reused
from anytune.schema.data import DataFile
from anytune.schema.job import Event, JobState, RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import OWN_TRAINER_ALONE, Capabilities, Price, Rule
from anytune.schema.spec import WANDB, TuneSpec

RULES = {
    **OWN_TRAINER_ALONE,
    "suffix": Rule(outcome="kept", to="suffix"),
    "training.epochs": Rule(outcome="kept", to="epochs", minimum=1, maximum=50),
    "training.batch_size": Rule(outcome="kept", to="batch_size"),
    "training.learning_rate": Rule(outcome="kept", to="learning_rate"),
    "training.seed": Rule(outcome="kept", to="seed"),
    **{
        f"training.{name}": Rule(outcome="refused", why="the fake provider keeps only a few settings")
        for name in (
            "micro_batch_size",
            "learning_rate_multiplier",
            "warmup_ratio",
            "weight_decay",
            "max_grad_norm",
            "scheduler",
            "lora",
            "lora.rank",
            "lora.alpha",
            "lora.dropout",
            "lora.target_modules",
            "quantize",
            "max_length",
            "beta",
        )
    },
    **dict.fromkeys(WANDB, Rule(outcome="refused", why="the fake provider tells nobody how a job goes")),
}
STATES = {
    "waiting": JobState.QUEUED,
    "working": JobState.RUNNING,
    "done": JobState.SUCCEEDED,
    "broken": JobState.FAILED,
    "stopped": JobState.CANCELLED,
}


@dataclass
class FakeService:
    """Be the far side: its jobs, files, and the faults that are to happen, by act."""

    key: str = "fake-key-1234567890"
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    polls_to_end: int = 3


class FakeProvider:
    """Translate to a `FakeService`; each poll moves a job one step on."""

    name = "fake"

    def __init__(self, profile: Profile, service: FakeService | None = None) -> None:
        self._profile = profile
        self.service = service or FakeService()

    def capabilities(self, model: str) -> Capabilities:
        """Describe a provider with one model, in one region."""
        as_of = date(2026, 11, 22)
        return Capabilities(
            provider=self.name,
            model=model,
            known=model == "fake-1",
            methods=("sft",),
            settings=RULES,
            regions=("eu",),
            min_examples=1,
            price=Price(per_million={"sft": Decimal(2)}, as_of=as_of, source="invented for tests"),
            similar=("fake-1",),
            as_of=as_of,
        )

    def render(self, spec: TuneSpec, *, job_id: str, training_file: str, validation_file: str | None) -> dict[str, Any]:
        """Name each setting that was made."""
        made = {
            name: value
            for name in ("epochs", "batch_size", "learning_rate", "seed")
            if (value := getattr(spec.training, name)) != "auto"
        }
        files = {"training_file": training_file, "validation_file": validation_file}
        return {"tag": job_id, "model": spec.model, "suffix": spec.suffix, **made, **files}

    def upload(self, file: DataFile) -> str:
        """Keep the bytes under their hash, if they are those that were checked."""
        data = file.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ConflictError(f"{file.path} has changed since it was checked")
        self._call("upload")
        name = f"file-{file.sha256[:12]}"
        if file.sha256 in self.service.files:
            return Reused(name)
        self.service.files[file.sha256] = data
        return name

    def delete_file(self, file_id: str) -> None:
        """Forget a file, if it is there."""
        self._call("delete_file")
        kept = {sha256: data for sha256, data in self.service.files.items() if file_id != f"file-{sha256[:12]}"}
        self.service.files = kept

    def create(self, request: dict[str, Any]) -> RemoteJob:
        """Start a job; a fault named `lost` happens after it was started."""
        self._call("create")
        remote_id = f"remote-{len(self.service.jobs) + 1}"
        self.service.jobs[remote_id] = {
            "status": "waiting",
            "polls": 0,
            "request": json.loads(json.dumps(request)),
        }
        self._fault("lost")
        return self._remote(remote_id)

    def retrieve(self, remote_id: str) -> RemoteJob:
        """Move the job one step on and tell how it stands."""
        self._call("retrieve")
        self._move(self._job(remote_id))
        return self._remote(remote_id)

    def _move(self, job: dict[str, Any]) -> None:
        if job["status"] in {"waiting", "working"}:
            job["polls"] += 1
            job["status"] = "done" if job["polls"] >= self.service.polls_to_end else "working"

    def retrieve_many(self, ids: Collection[str], *, since: datetime | None = None) -> dict[str, RemoteJob]:
        """Move those jobs that are there one step on and tell how they stand, in one call."""
        del since
        self._call("list")
        known = [id for id in ids if id in self.service.jobs]
        for id in known:
            self._move(self.service.jobs[id])
        return {id: self._remote(id) for id in known}

    def events(self, remote_id: str) -> list[Event]:
        """List one event a poll."""
        self._call("events")
        start = datetime(2026, 11, 22, tzinfo=UTC)
        return [
            Event(
                id=f"{remote_id}-{step}",
                at=start + timedelta(seconds=step),
                message=f"step {step}",
                data={"step": step, "total_steps": self.service.polls_to_end, "loss": 1.0 / (step + 1)},
            )
            for step in range(self._job(remote_id)["polls"] + 1)
        ]

    def cancel(self, remote_id: str) -> RemoteJob:
        """Stop a job that has not ended."""
        self._call("cancel")
        job = self._job(remote_id)
        if not STATES.get(job["status"], JobState.UNKNOWN).is_terminal:
            job["status"] = "stopped"
        return self._remote(remote_id)

    def find(self, job_id: str) -> RemoteJob | None:
        """Look for the tag, newest first."""
        self._call("find")
        tagged = (remote_id for remote_id in reversed(self.service.jobs) if self._tag(remote_id) == job_id)
        found = next(tagged, None)
        return self._remote(found) if found else None

    def generator(self, *, base: str, tuned: TunedModel | None, beside: TunedModel | None = None) -> FakeGenerator:
        """Open a model that knows the training answers once it is tuned."""
        del base, beside
        return FakeGenerator(self.service if tuned else FakeService())

    def _call(self, act: str) -> None:
        self.service.calls.append(act)
        if self._profile.key() != self.service.key:
            raise KeyRefusedError("fake does not take this key", fix="export FAKE_API_KEY=…")
        self._fault(act)

    def _fault(self, act: str) -> None:
        if waiting := self.service.faults.get(act):
            raise waiting.pop(0)

    def _job(self, remote_id: str) -> dict[str, Any]:
        if remote_id not in self.service.jobs:
            raise NotFoundError(f"fake: no job {remote_id}", status=404)
        return self.service.jobs[remote_id]

    def _tag(self, remote_id: str) -> object:
        return self.service.jobs[remote_id]["request"]["tag"]

    def _remote(self, remote_id: str) -> RemoteJob:
        job = self.service.jobs[remote_id]
        return RemoteJob(
            id=remote_id,
            status=job["status"],
            state=STATES.get(job["status"], JobState.UNKNOWN),
            base=job["request"]["model"],
            model=f"tuned-{remote_id}" if job["status"] == "done" else None,
            seen_job_id=str(self._tag(remote_id)),
        )


class FakeGenerator:
    """Answer from the files that were uploaded; a base model knows none."""

    def __init__(self, service: FakeService) -> None:
        lines = [line for data in service.files.values() for line in data.decode().splitlines() if line.strip()]
        chats = [json.loads(line)["messages"] for line in lines]
        self._known = {chat[-2]["content"]: chat[-1]["content"] for chat in chats}

    def answer(self, chats: Sequence[Sequence[ChatMessage]], *, max_new_tokens: int) -> Iterator[str]:
        """Yield the answer that was trained, or words that say that none was."""
        return (str(self._known.get(chat[-1]["content"], "I do not know."))[: max_new_tokens * 8] for chat in chats)

    def close(self) -> None:
        """Have nothing to free."""


FAULTS: dict[str, Exception] = {
    "lost-answer": AmbiguousError("fake: create: the answer was lost"),
    "rate-limit": RateLimitedError("fake: too many calls", retry_after=7.0),
    "server-error": AmbiguousError("fake: HTTP 503", status=503),
    "garbage": MalformedAnswerError("fake: the answer is not the JSON it should be"),
}
