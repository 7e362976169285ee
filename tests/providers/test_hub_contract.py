"""Hugging Face Jobs keeps the contract that every provider keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.testing import ProviderContract, Rig
from tests.providers._hub import HubRig, running


class TestHFJobs(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        with running(tmp_path, monkeypatch) as stub:
            yield HubRig(tmp_path, stub)
