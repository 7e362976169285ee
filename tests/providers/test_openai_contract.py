"""OpenAI, and whoever speaks its API, keeps the contract that every provider keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anytune.providers.base import Provider
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing import ProviderContract, Rig
from anytune.testing.rig import Fault, no_key, sample_file, sample_spec
from tests.providers._openai import ANY_JOB, JOBS, LIST, MODEL, provider
from tests.stubs._openai_manners import AZURE, NEBIUS, OPENAI, OWN, Manner
from tests.stubs._openai_rest import KEPT
from tests.stubs.openai import OpenAIStub

AT = {"create": JOBS, "retrieve": ANY_JOB}


class OpenAIRig:
    """Drive a stand-in that speaks OpenAI's API through the contract."""

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

    def __init__(self, folder: Path, stub: OpenAIStub, *, model: str = MODEL, **profile: Any) -> None:
        self.folder, self.stub, self.key = folder, stub, stub.key
        self.model, self.profile, key = model, profile, stub.key
        self.provider: Provider = provider(stub, key=lambda: key, **profile)

    def spec(self) -> TuneSpec:
        return sample_spec(self.file(), provider=self.provider.name, model=self.model)

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.stub.jobs)

    def calls(self) -> int:
        return len(self.stub.journal)

    def received(self) -> dict[str, Any]:
        body: dict[str, Any] = self.stub.calls(JOBS)[-1].json
        return body

    def told(self, remote_id: str) -> int:
        ended = self.stub.jobs[remote_id]["status"] == "succeeded"
        return self.stub.told(remote_id) + KEPT * (ended and not self.stub.manner.names_model)  # its checkpoints, too

    def without_key(self) -> Provider:
        return provider(self.stub, key=no_key, **self.profile)

    def finish(self, remote_id: str) -> None:
        self.stub.finish(remote_id)

    def break_next(self, act: str, fault: Fault) -> None:
        match fault:
            case "lost-answer":
                self.stub.drop_next(AT[act], when="after")
            case "rate-limit":
                self.stub.fail_next(AT[act], status=429, headers={"Retry-After": "7"})
            case "server-error":
                self.stub.fail_next(AT[act], status=503)
            case "garbage":
                self.stub.html_next(AT[act])
            case "blind-list":
                self.stub.fail_next(LIST, status=503)
            case "wrong-key":
                self.stub.key = "sk-a-newer-key"
            case "unknown-word":
                self.stub.life = (*self.stub.life[:1], "meditating")
            case "small-pages":
                self.stub.deaf, self.stub.page = True, 1


SPEAKERS: dict[str, tuple[Manner, dict[str, Any]]] = {
    "openai": (OPENAI, {}),
    "azure": (AZURE, {"name": "azure"}),
    "nebius": (NEBIUS, {"name": "nebius", "model": "meta-llama/Meta-Llama-3.1-8B-Instruct"}),
    "own": (OWN, {"name": "own", "like": "openai", "model": "acme/own-7b"}),
}


@contextmanager
def speaking(name: str, folder: Path) -> Iterator[OpenAIRig]:
    """Return the rig of one of those who speak OpenAI's API."""
    manner, profile = SPEAKERS[name]
    with OpenAIStub(manner=manner) as stub:
        yield OpenAIRig(folder, stub, **profile)


class TestOpenAI(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with speaking("openai", tmp_path) as rig:
            yield rig


class TestAzure(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with speaking("azure", tmp_path) as rig:
            yield rig


class TestNebius(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with speaking("nebius", tmp_path) as rig:
            yield rig


class TestOwnServer(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with speaking("own", tmp_path) as rig:
            yield rig
