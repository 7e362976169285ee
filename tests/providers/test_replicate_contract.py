"""Replicate keeps the contract that every provider keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.testing import ProviderContract, Rig
from tests.providers._replicate import ReplicateRig, running


class TestReplicate(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        with running(tmp_path, monkeypatch) as stub:
            yield ReplicateRig(tmp_path, stub)
