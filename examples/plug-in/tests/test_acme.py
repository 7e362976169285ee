"""Acme keeps the contract that every provider keeps: a rig, and one class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acme import Acme
from anytune_acme import AcmeProvider

from anytune.providers.base import Profile
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing import Fault, ProviderContract, no_key, sample_file, sample_spec

FAULTS = {"lost-answer": "drop", "rate-limit": "429", "server-error": "503", "blind-list": "503", "garbage": "html"}
METHODS = {"create": "PUT", "retrieve": "GET", "find": "GET"}


class AcmeRig:
    """Drive the provider against the server, through the contract."""

    supports: frozenset[Fault] = frozenset(
        ("lost-answer", "rate-limit", "server-error", "garbage", "wrong-key", "unknown-word", "blind-list")
    )

    def __init__(self, folder: Path) -> None:
        self.folder, self.acme = folder, Acme()
        self.key = self.acme.key
        self.provider = self.at(lambda: self.key)

    def at(self, key: Any) -> AcmeProvider:
        base_url = f"http://127.0.0.1:{self.acme.server_address[1]}"
        return AcmeProvider(Profile(name="acme", home=self.folder, key=key, base_url=base_url, timeout=5))

    def without_key(self) -> AcmeProvider:
        return self.at(no_key)

    def spec(self) -> TuneSpec:
        return sample_spec(self.file(), provider="acme", model="acme-7b")

    def file(self) -> DataFile:
        return sample_file(self.folder)

    def remote_jobs(self) -> int:
        return len(self.acme.jobs)

    def calls(self) -> int:
        return self.acme.calls

    def received(self) -> dict[str, Any]:
        return self.acme.received

    def told(self, remote_id: str) -> int:
        return len(self.acme.jobs[remote_id]["log"])

    def finish(self, remote_id: str) -> None:
        self.acme.jobs[remote_id].update(state="ready", model=f"acme-7b:{remote_id}", log=["made", "trained", "ready"])

    def break_next(self, act: str, fault: Fault) -> None:
        if fault == "wrong-key":
            self.acme.key = "another-key"
        elif fault == "unknown-word":
            for job in self.acme.jobs.values():
                job["state"] = "meditating"
        else:
            self.acme.faults.append((METHODS[act], FAULTS[fault]))


class TestAcme(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[AcmeRig]:
        rig = AcmeRig(tmp_path)
        yield rig
        rig.acme.shutdown()
        rig.acme.server_close()
