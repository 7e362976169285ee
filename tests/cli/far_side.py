"""A fake provider whose far side outlives a command, as a real one's does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anytune.providers.base import Profile
from anytune.schema.job import RemoteJob
from anytune.schema.model import TunedModel
from anytune.schema.plan import Capabilities
from anytune.testing.fake import FakeProvider, FakeService

SERVICES: dict[Path, FakeService] = {}


class LastingFake(FakeProvider):
    """Keep one service a home; take up interrupted jobs; hand weights out."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, SERVICES.setdefault(profile.home, FakeService()))

    def capabilities(self, model: str) -> Capabilities:
        return super().capabilities(model).model_copy(update={"weights_downloadable": True})

    def resume(self, remote_id: str) -> RemoteJob:
        self.service.jobs[remote_id]["status"] = "working"
        return self.retrieve(remote_id)

    def export(self, tuned: TunedModel, *, to: str, out: Path) -> dict[str, Any]:
        out.mkdir()
        return {"to": to, "model": tuned.name}


class SpareFake(LastingFake):
    """Be another provider, with a far side of its own."""

    name = "spare"

    def __init__(self, profile: Profile) -> None:
        FakeProvider.__init__(self, profile, SERVICES.setdefault(profile.home / "spare", FakeService()))
