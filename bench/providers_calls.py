"""Count what following one job costs in calls: each hosted provider on its stand-in, and a clock that does not wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anytune import jobs, planner
from anytune.schema.plan import Policy
from anytune.store import SqliteStore
from anytune.testing import FakeClock
from tests.providers._fireworks import FireworksRig
from tests.providers._replicate import ReplicateRig
from tests.providers._together import TogetherRig
from tests.providers.test_openai_contract import OpenAIRig
from tests.rigs import report_of
from tests.stubs.fireworks import FireworksStub
from tests.stubs.openai import OpenAIStub
from tests.stubs.replicate import ReplicateStub
from tests.stubs.together import TogetherStub

LOOKS = 40


class Kind(NamedTuple):
    """Be a provider with its stand-in and its words for a job that waits, and for one that runs."""

    name: str
    stub: Callable[[], Any]
    rig: Callable[[Path, Any], Any]
    waits: str
    runs: str


KINDS = (
    Kind("openai", OpenAIStub, OpenAIRig, "queued", "running"),
    Kind("together", TogetherStub, TogetherRig, "queued", "running"),
    Kind("fireworks", FireworksStub, FireworksRig, "JOB_STATE_CREATING", "JOB_STATE_RUNNING"),
    Kind("replicate", ReplicateStub, ReplicateRig, "starting", "processing"),
)


def counted(place: Path) -> Iterator[tuple[str, str, int, Counter[str]]]:
    """Yield for each provider and phase the looks and the calls by what they asked."""
    for kind in KINDS:
        for phase, word in (("waiting", kind.waits), ("running", kind.runs)):
            folder = place / f"{kind.name}-{phase}"
            folder.mkdir()
            with kind.stub() as stub:
                stub.life = (kind.waits, *[word] * (LOOKS + 3))
                yield kind.name, phase, LOOKS, _asked(kind.rig(folder, stub), stub, folder)


def _asked(rig: Any, stub: Any, folder: Path) -> Counter[str]:
    desk = jobs.Desk(store=SqliteStore(folder / "home"), provider=lambda _: rig.provider, clock=FakeClock())
    capabilities = rig.provider.capabilities(rig.spec().model)
    today = FakeClock().now().date()
    plan = planner.make(rig.spec(), report_of(rig.file()), capabilities, policy=Policy(), today=today)
    looks = jobs.follow(jobs.submit(plan, desk=desk).id, desk=desk)
    for _ in range(2):  # the first looks take in what came before
        next(looks)
    before = len(stub.journal)
    for _ in range(LOOKS):
        next(looks)
    paths = [call.path.rpartition("/")[2] for call in stub.journal[before:]]
    return Counter(last if last in ("events", "metrics", "checkpoints") else "job" for last in paths)
