"""Ray Jobs keeps the contract that every provider keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anytune.testing import ProviderContract, Rig
from tests.providers._ray import RayRig, running


class TestRay(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        with running(tmp_path) as stub:
            yield RayRig(tmp_path, stub)
