"""Let the real providers do everything that they can do, so that a referee can watch each call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from anytune.providers.base import Profile
from anytune.providers.openai import OpenAIProvider
from anytune.providers.together import TogetherProvider
from anytune.schema.data import DataFile, Role
from anytune.schema.spec import TuneSpec
from tests.stubs.openai import OpenAIStub
from tests.stubs.together import TogetherStub

OPENAI_MODEL = "gpt-4.1-mini-2025-04-14"
TOGETHER_MODEL = "Qwen/Qwen3.5-9B"
ALL_OF_OPENAI = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate_multiplier": 0.5,
    "seed": 7,
}
ALL_OF_TOGETHER = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 2e-5,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "scheduler": "cosine",
    "lora": {"rank": 8, "alpha": 16, "dropout": 0.05, "target_modules": ["q_proj", "v_proj"]},
    "max_length": 4096,
    "seed": 7,
}


def live_at_openai(stub: OpenAIStub, origin: str, folder: Path) -> Iterator[str]:
    """Go through every act of the OpenAI provider and yield what was done; raise `AssertionError` for a surprise."""
    at = OpenAIProvider(Profile(name="openai", home=folder, key=lambda: stub.key, base_url=origin, timeout=30.0))
    assert OPENAI_MODEL in at.models().models
    yield "models: listed"
    for method, training in (("sft", {}), ("sft", ALL_OF_OPENAI), ("dpo", {**ALL_OF_OPENAI, "beta": 0.2})):
        train, test = (written(folder, method, role, 12) for role in ("train", "validation"))
        files = at.upload(train), at.upload(test)
        assert at.upload(train) == files[0]
        job_id = f"referee-{method}-{len(training)}"
        asked = spec("openai", OPENAI_MODEL, method, training)
        job = at.create(at.render(asked, job_id=job_id, training_file=files[0], validation_file=files[1]))
        found = at.find(job_id)
        assert found is not None
        assert found.id == job.id
        yield from ended(at, job.id, job_id)
        model = stub.jobs[job.id]["fine_tuned_model"]
        asked_of_it = at.generator(base=model, tuned=None).answer(
            [[{"role": "user", "content": "3?"}]], max_new_tokens=9
        )
        assert list(asked_of_it) == ["yes 3"]
        stopped = at.create(at.render(asked, job_id=job_id + "-2", training_file=files[0], validation_file=None))
        assert at.cancel(stopped.id).state.is_terminal
        assert at.cancel(stopped.id).state.is_terminal
        yield f"{job_id}: cancelled, twice"


def live_at_together(stub: TogetherStub, origin: str, folder: Path) -> Iterator[str]:
    """Go through every act of the Together provider and yield what was done."""
    at = TogetherProvider(Profile(name="together", home=folder, key=lambda: stub.key, base_url=origin, timeout=30.0))
    assert at.models().models[TOGETHER_MODEL].max_length
    yield "models: listed, each asked for its limits"
    full = {"epochs": 1, "lora": None}
    kinds: list[tuple[str, dict[str, Any]]] = [("sft", {}), ("sft", ALL_OF_TOGETHER), ("sft", full)]
    kinds.append(("dpo", {**ALL_OF_TOGETHER, "beta": 0.2, "scheduler": "linear"}))
    for method, training in kinds:
        train, test = (written(folder, method, role, 12) for role in ("train", "validation"))
        files = at.upload(train), at.upload(test)
        assert at.upload(train) == files[0]
        job_id = f"referee-{method}-{len(training):010x}"
        asked = spec("together", TOGETHER_MODEL, method, training)
        for file in files:
            checked(stub, file)
        request = at.render(asked, job_id=job_id, training_file=files[0], validation_file=files[1])
        assert at.quote(request) is not None
        job = at.create(request)
        found = at.find(job_id)
        assert found is not None
        assert found.id == job.id
        yield from ended(at, job.id, job_id)
        stopped = at.create(at.render(asked, job_id=job_id[:-1] + "f", training_file=files[0], validation_file=None))
        assert not at.cancel(stopped.id).state.is_terminal
        assert at.cancel(stopped.id).id == stopped.id
        yield f"{job_id}: cancelled, twice"
        at.delete_file(files[1])
        assert files[1] not in stub.files


def ended(at: Any, remote_id: str, job_id: str) -> Iterator[str]:
    """Ask until the job has ended well, then for its events and checkpoints."""
    for _ in range(20):
        job = at.retrieve(remote_id)
        if job.state.is_terminal:
            break
    assert str(job.state) == "succeeded", job
    assert at.events(remote_id)
    assert at.checkpoints(remote_id)
    yield f"{job_id}: created, found, asked until it had succeeded, its events and checkpoints read"


def checked(stub: TogetherStub, file_id: str) -> None:
    """Let the stand-in come to the end of its checks of a file."""
    for _ in range(5):
        stub.files[file_id].steps and stub.look(stub.files[file_id])


def spec(provider: str, model: str, method: str, training: dict[str, Any]) -> TuneSpec:
    """Describe a job with these settings."""
    given = {"name": "referee", "provider": provider, "model": model, "data": {"train": "t.jsonl"}, "method": method}
    return TuneSpec.model_validate({**given, "training": training})


def written(folder: Path, method: str, role: Role, count: int) -> DataFile:
    """Write a small file of this method's kind."""
    path = folder / f"{method}-{role}.jsonl"
    raw = "".join(json.dumps(row(method, role, number)) + "\n" for number in range(count)).encode()
    path.write_bytes(raw)
    return DataFile(role=role, path=path, sha256=sha256(raw).hexdigest(), bytes=len(raw), examples=count)


def row(method: str, role: str, number: int) -> dict[str, Any]:
    """Make one example."""
    question = {"role": "user", "content": f"{number}?" if role == "train" else f"{number} too?"}
    good, bad = ({"role": "assistant", "content": f"{word} {number}"} for word in ("yes", "no"))
    if method == "sft":
        return {"messages": [question, good]}
    return {"input": {"messages": [question]}, "preferred_output": [good], "non_preferred_output": [bad]}
