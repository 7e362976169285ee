"""The rig that `ProviderContract` drives: one provider, its far side, and a way to break things."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

from anytune.errors import CredentialError
from anytune.providers.base import Provider
from anytune.schema.data import DataFile, Role
from anytune.schema.spec import TuneSpec

Fault = Literal[
    "lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list", "small-pages"
]


class Rig(Protocol):
    """Hold a provider against a far side of its own; write one of these to run the contract on your provider.

    `supports` names the faults that the far side can make; the contract skips the others aloud. A provider without a
    far side (one that runs on this machine) supports none of them.
    """

    provider: Provider
    key: str
    supports: frozenset[Fault]

    def spec(self) -> TuneSpec:
        """Return a job that the provider takes."""
        ...

    def file(self) -> DataFile:
        """Return training data that the provider takes."""
        ...

    def remote_jobs(self) -> int:
        """Count the jobs that exist on the far side."""
        ...

    def calls(self) -> int:
        """Count the calls that reached the far side."""
        ...

    def received(self) -> dict[str, Any]:
        """Return the body of the last create as it came in at the far side."""
        ...

    def told(self, remote_id: str) -> int:
        """Count the events that the far side has of a job."""
        ...

    def without_key(self) -> Provider:
        """Return the provider as it is where no key is set; the same one if it needs none."""
        ...

    def finish(self, remote_id: str) -> None:
        """Let the job end well."""
        ...

    def break_next(self, act: str, fault: Fault) -> None:
        """Let the next call of this act (`create`, `retrieve`) meet the fault.

        `lost-answer`: the far side acts, then drops the connection. `rate-limit`: 429 with Retry-After 7.
        `server-error`: 503. `garbage`: an answer that is not JSON. `wrong-key`: the key is not taken from now on.
        `unknown-word`: the job's status is a word that nobody has heard of. `blind-list`: 503 for what `find` asks.
        `small-pages`: from now on a page of the list that `find` reads holds one job, and is not searched for it.
        """
        ...


def no_key() -> NoReturn:
    """Be the key of a profile where none is set."""
    raise CredentialError("no key is set for the contract", fix="export THE_KEY=…")


def sample_file(folder: Path, *, examples: int = 12, role: Role = "train") -> DataFile:
    """Write a small, correct chat file and return it as checked data."""
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"What is {n} plus {n}?"},
                    {"role": "assistant", "content": f"{n + n}."},
                ]
            }
        )
        for n in range(examples)
    ]
    path = folder / f"{role}.jsonl"
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(data)
    return DataFile(role=role, path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), examples=examples)


def sample_spec(file: DataFile, *, provider: str, model: str) -> TuneSpec:
    """Return a small job on that data."""
    return TuneSpec.model_validate(
        {
            "name": "contract",
            "provider": provider,
            "model": model,
            "data": {"train": file.path},
            "training": {"epochs": 2},
        }
    )
