"""The shipped contracts hold for what anytune ships: here the fake provider and SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from anytune.store import JobStore, SqliteStore
from anytune.testing import ProviderContract, Rig, StoreContract
from tests.rigs import FakeRig


class TestFakeProvider(ProviderContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return FakeRig(tmp_path)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> JobStore:
        return SqliteStore(tmp_path / "home")
