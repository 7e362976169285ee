"""Fireworks keeps the contract that every provider keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.testing import ProviderContract, Rig
from tests.providers._fireworks import FireworksRig, running


class TestFireworks(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
        with running(tmp_path, monkeypatch) as stub:
            yield FireworksRig(tmp_path, stub)
