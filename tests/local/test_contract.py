"""The contract of a provider, run on this machine with real worker processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anytune.local.provider import LocalProvider
from anytune.providers.base import Profile, Provider
from anytune.schema.data import DataFile
from anytune.schema.spec import TuneSpec
from anytune.testing import Fault, ProviderContract, Rig, sample_file, sample_spec
from tests.local.conftest import data_file, end_workers, write_lines


class LocalRig:
    """Drive the local provider; it has no far side that could drop an answer or speak an unheard-of word."""

    key = ""
    supports: frozenset[Fault] = frozenset()

    def __init__(self, home: Path, base: Path) -> None:
        self.home, self.base = home, base
        self.provider: Provider = LocalProvider(Profile(name="local", home=home, key=lambda: ""))

    def spec(self) -> TuneSpec:
        return sample_spec(self.file(), provider="local", model=str(self.base))

    def file(self) -> DataFile:
        return sample_file(self.home)

    def remote_jobs(self) -> int:
        return len(list((self.home / "runs").iterdir()))

    def calls(self) -> int:
        return sum(1 for _ in self.home.rglob("*")) - 1 if (self.home / "runs").exists() else 0

    def received(self) -> dict[str, Any]:
        newest = max((self.home / "runs").glob("*/request.json"), key=lambda path: path.stat().st_mtime_ns)
        request: dict[str, Any] = json.loads(newest.read_text())
        return request

    def told(self, remote_id: str) -> int:
        return len((self.home / "runs" / remote_id / "events.jsonl").read_text().splitlines())

    def without_key(self) -> Provider:
        return self.provider

    def finish(self, remote_id: str) -> None:
        deadline = time.monotonic() + 120
        while not self.provider.retrieve(remote_id).state.is_terminal:
            assert time.monotonic() < deadline, f"{remote_id} did not end"
            time.sleep(0.05)

    def break_next(self, act: str, fault: Fault) -> None:
        raise AssertionError(f"nothing here can make {fault} of {act}")

    def stop(self) -> None:
        """Kill what still runs; its folder goes with the test."""
        end_workers(self.home)


class PairsRig(LocalRig):
    """Drive the local provider by jobs on pairs."""

    def spec(self) -> TuneSpec:
        return super().spec().model_copy(update={"method": "dpo"})

    def file(self) -> DataFile:
        chats = [json.loads(line)["messages"] for line in super().file().path.read_text().splitlines()]
        worse = [{"role": "assistant", "content": "I cannot tell."}]
        pairs = [
            {"input": {"messages": [asked]}, "preferred_output": [said], "non_preferred_output": worse}
            for asked, said in chats
        ]
        return data_file(write_lines(self.home / "train.jsonl", pairs))


@pytest.mark.local
class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, base: Path) -> Iterator[Rig]:
        rig = LocalRig(tmp_path, base)
        yield rig
        rig.stop()


@pytest.mark.local
class TestLocalProviderOnPairs(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, base: Path) -> Iterator[Rig]:
        rig = PairsRig(tmp_path, base)
        yield rig
        rig.stop()
