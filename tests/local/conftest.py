"""A tiny random model, chats for it, and ways to run a worker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anytune.local.provider import LocalProvider
from anytune.providers.base import Profile
from anytune.schema.data import DataFile
from anytune.schema.job import RemoteJob
from anytune.schema.spec import DataSpec, TuneSpec
from anytune.schema.training import Method, Training

os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", TORCHDYNAMO_DISABLE="1")
TINY = Path(__file__).parents[2] / "fixtures" / "tiny-base"
CONFIG = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a Llama of 130,000 random weights with the demonstration model's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    # Larger than usual weights, so that answers differ and gradients are far from zero.
    net = LlamaForCausalLM(LlamaConfig(**CONFIG, initializer_range=0.15))
    net.to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / name, folder)
    return folder


def chat(number: int) -> dict[str, Any]:
    """Return one chat; its length varies with the number."""
    question = f"Which is {number}?" + " Say it again." * (number % 4)
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": f"It is {number * 7}." + " So it is." * (number % 3)},
        ]
    }


def pair(number: int) -> dict[str, Any]:
    """Return one pair: the shorter way to say it is preferred."""
    *asked, answer = chat(number)["messages"]
    wordy = f"Well, that is a good one! Let me see. {answer['content']} I hope that helps."
    return {
        "input": {"messages": asked},
        "preferred_output": [answer],
        "non_preferred_output": [{"role": "assistant", "content": wordy}],
    }


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 24 chats."""
    return write_lines(tmp_path_factory.mktemp("data") / "train.jsonl", [chat(n) for n in range(24)])


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 16 pairs."""
    return write_lines(tmp_path_factory.mktemp("data") / "pairs.jsonl", [pair(n) for n in range(16)])


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def data_file(path: Path, role: str = "train") -> DataFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return DataFile(role=role, path=path, sha256=digest, bytes=len(content), examples=content.count(b"\n"))


def new_provider(home: Path) -> LocalProvider:
    return LocalProvider(Profile(name="local", home=home, key=lambda: ""))


def spec(model: Path | str, data: Path, *, method: Method = "sft", **training: Any) -> TuneSpec:
    values = {"epochs": 2, "batch_size": 4, "learning_rate": 2e-3, "seed": 7} | training
    return TuneSpec(
        name="x",
        provider="local",
        model=str(model),
        method=method,
        data=DataSpec(train=data),
        training=Training(**values),
    )


def request(
    provider: LocalProvider, model: Path, data: Path, job_id: str, *, method: Method = "sft", **training: Any
) -> dict[str, Any]:
    """Upload the data as training and validation file, and render a request that saves at every step."""
    file, asked = provider.upload(data_file(data)), spec(model, data, method=method, **training)
    body = provider.render(asked, job_id=job_id, training_file=file, validation_file=file)
    return body | {"checkpoint_seconds": 0}


def wait(provider: LocalProvider, job_id: str, until: Callable[[RemoteJob], bool], seconds: float = 240) -> RemoteJob:
    """Ask until the job is as wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = provider.retrieve(job_id)
        if until(job):
            return job
        time.sleep(0.02)
    log = (provider.home / "runs" / job_id / "log").read_text()[-2000:]
    raise AssertionError(f"not in {seconds} s; it stands at {provider.retrieve(job_id)}\n{log}")


def end_workers(home: Path) -> None:
    """Kill each worker of this home, also one that has not yet written down its process id."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            said = command.read_bytes()
            if b"anytune.local.worker" in said and f"{home}/".encode() in said:
                os.kill(int(command.parent.name), signal.SIGKILL)


def ended(job: RemoteJob) -> bool:
    return job.state.is_terminal


@pytest.fixture(scope="session")
def finished(base: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalProvider, RemoteJob]:
    """Train once through the provider, in a real worker process."""
    provider = new_provider(tmp_path_factory.mktemp("home"))
    provider.create(request(provider, base, chats, "whole"))
    job = wait(provider, "whole", ended)
    assert job.error is None, job.error
    return provider, job
