"""Every fault in every call of a job's life: each ends in the right state or a right error, and nothing is lost for it.

One cell: commands that are typed in this process bring a job to the call; the fault strikes; then the service is whole
again, and the next commands must bring the job to its end, unless the provider had refused it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anytune.schema.job import Job, JobState
from anytune.store import SqliteStore
from tests.soak.fault import KEY, TOLD, Fault, faults
from tests.soak.place import Places
from tests.soak.scene import ALL, CANCEL, EXPORT, SCENES, STANDS, SUBMIT, THERE, Scene
from tests.soak.work import DEFECTS, HASTE, Desk, QuickClock, Said, laid_out
from tests.stubs._http import StubServer, Trap

HELD_OUT = 2  # questions that a model is compared on
REFUSED = 3  # exit code
HASTY = 0.5  # seconds of the deadline of one call where the service is slow
BUDGET = "budget: {usd: 50}\n"
ENDED = {"cancelled", "JOB_STATE_CANCELLED"}


@dataclass
class Tally:
    """Count what happened; `wrong` and `trapped` should be none. `refused` are the jobs that ended by the fault."""

    cells: int = 0
    got_over: int = 0
    told: int = 0
    refused: int = 0
    trapped: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether each ended as it should."""
        return not (self.trapped or self.wrong)


Cell = tuple[Scene, Fault]


def cells(trap: str) -> list[Cell]:
    """List every fault in every call in which it can be."""
    return [(scene, fault) for scene in SCENES for fault in faults(trap) if _can_be(fault, scene)]


def _can_be(fault: Fault, scene: Scene) -> bool:
    if scene.act in fault.not_at:
        return False
    if fault.of == "job":
        nameless = scene.provider.name == "fireworks" and fault.name == "success without a model"
        return scene.job is not None and not nameless  # Fireworks' models are named after their jobs
    return fault.of == "any" or scene.act == fault.of


def run(places: Places, *, rounds: int | None, seed: int, only: Callable[[Cell], bool] = lambda _: True) -> Tally:
    """Try so many cells, or all if None."""
    tally = Tally()
    with Trap() as trap:
        wanted = [cell for cell in cells(trap.origin) if only(cell)]
        if rounds is not None and rounds < len(wanted):
            wanted = random.Random(seed).sample(wanted, rounds)
        for number, (scene, fault) in enumerate(wanted):
            folder = places.folder / f"cell{number}"
            _try(folder, scene, fault, tally)
            shutil.rmtree(folder)
            tally.wrong += [f"{scene.name} × {fault.name}: {call.route} was asked" for call in trap.journal]
            tally.trapped += len(trap.journal)
            trap.journal.clear()
    return tally


def _try(folder: Path, scene: Scene, fault: Fault, tally: Tally) -> None:
    with STANDS[scene.provider.name]() as stub:
        more, timeout = BUDGET if scene.act == "quote" else "", HASTY if fault.hasty else 20
        desk = laid_out(folder, scene.provider, stub.origin, topic="tides", more=more, timeout=timeout)
        rows = (desk.folder / "train.jsonl").read_text().splitlines()[:HELD_OUT]
        (desk.folder / "held.jsonl").write_text("\n".join(rows).replace("tides", "moons") + "\n")
        wrong = _struck(desk, stub, scene, fault, tally)
    tally.cells += 1
    tally.wrong += [f"{scene.name} × {fault.name}: {what}" for what in wrong]


def _struck(desk: Desk, stub: StubServer, scene: Scene, fault: Fault, tally: Tally) -> list[str]:
    for command in scene.before:
        if (said := desk.typed(*command, clock=_clock(scene))).code:
            return [f"before the fault: {said.err}"]
    if scene.setup is not None:
        scene.setup(stub)
    if scene.forgets:
        shutil.rmtree(desk.home)
    whole = stub.answer
    if scene.loses is not None:
        stub.drop_next(scene.loses, when="after")
    fault.order(stub, scene.pattern, scene.provider.name)
    said = desk.typed(*_worded(scene.command, stub), clock=_clock(scene, fault.ahead))
    stub.settle()
    stub.answer = whole  # type: ignore[method-assign]
    jobs = desk.jobs()
    if not jobs and _is_closed_by_then(said, stub, scene, fault):
        tally.told += 1
        again = desk.typed(*SUBMIT, clock=_clock(scene))
        return _went_on_badly(desk, stub, scene) if again.code == 0 else [f"submit afterwards: {again.err}"]
    wrong = _told_badly(said, scene, fault)
    if len(jobs) != 1 and not (scene.forgets and not jobs):
        return [*wrong, f"{len(jobs)} jobs in the record"]
    tally.got_over += said.code == 0
    tally.told += said.code != 0
    if jobs and jobs[0].state is JobState.FAILED:
        tally.refused += 1
        return wrong + _refused_badly(jobs[0], stub, scene, said)
    return wrong + _went_on_badly(desk, stub, scene)


def _is_closed_by_then(said: Said, stub: StubServer, scene: Scene, fault: Fault) -> bool:
    """Tell whether a clock of another year had a submit refused by a day of the catalogue, with nothing sent."""
    refused = said.code == REFUSED and "takes no new jobs" in said.err
    return refused and fault.ahead > 0 and scene.command == SUBMIT and not stub.journal


def _told_badly(said: Said, scene: Scene, fault: Fault) -> Iterable[str]:
    ends = fault.ends | TOLD if scene.act == "resume" else fault.ends  # it may cost: unclear is told, not tried again
    stored = scene.act == "store" or "/storage/" in scene.pattern
    ends = TOLD if stored and fault.ends == KEY else ends  # no key goes to a storage: none is refused
    wrong = [] if said.code in ends else [f"ended with {said.code}: {said.err.strip()[-300:]}"]
    if any(defect in said.err for defect in DEFECTS):
        wrong.append(said.err)
    if said.code and "error: " not in said.err:
        wrong.append(f"no error is told: {said.err}")
    return wrong


def _refused_badly(job: Job, stub: StubServer, scene: Scene, said: Said) -> list[str]:
    """Find fault with a job that the fault ended: only a refusal before there is a remote job may do that."""
    wrong = [] if scene.submits else ["the job was ended by a fault that is none of its own"]
    if job.remote is not None or not job.error or said.code != 3:
        wrong.append(f"ended as {job.state} with {said.code}: {job.error}")
    if len(stub.jobs):  # type: ignore[attr-defined]
        wrong.append("a job goes on there that is given up here")
    return wrong


def _went_on_badly(desk: Desk, stub: StubServer, scene: Scene) -> list[str]:
    """Bring the job to its end, now that the service is whole, and find fault with what came of it."""
    wrong = []
    for command in scene.then:
        if command == EXPORT and (desk.folder / "taken").exists():
            continue
        said = desk.typed(*_worded(command, stub), clock=_clock(scene))
        good = {0, 4} if scene.command == CANCEL else {0}
        if said.code not in good or any(defect in said.err for defect in DEFECTS):
            wrong.append(f"{command[0]} afterwards ended with {said.code}: {said.err.strip()[-300:]}")
    (job,) = desk.jobs()
    end = JobState.CANCELLED if scene.command == CANCEL else JobState.SUCCEEDED
    there: dict[str, dict[str, Any]] = stub.jobs  # type: ignore[attr-defined]
    if job.state is not end:
        wrong.append(f"it ended as {job.state}, not {end}: {job.error}")
    if len(there) != 1 or job.remote is None or job.remote.id not in there:
        wrong.append(f"{len(there)} remote jobs, ours is {job.remote and job.remote.id}")
    if end is JobState.CANCELLED and not ENDED & {
        str(told.get("state") or told.get("status")) for told in there.values()
    }:
        wrong.append("it was not cancelled there")
    if scene.command == EXPORT and not any((desk.folder / "taken").glob("*.safetensors")):
        wrong.append("no weights came")
    if scene.act in (
        "events",
        "figures",
    ):  # those that could not be had while the job was followed come when they are asked for
        desk.typed("events", "last", clock=_clock(scene))
    return wrong + _events_missing(desk, stub, job)


def _events_missing(desk: Desk, stub: StubServer, job: Job) -> list[str]:
    """Hold the events of a job against those that the service told; each stands in the record once."""
    told = getattr(stub, "told", None)
    if told is None or job.remote is None or job.state is not JobState.SUCCEEDED:
        return []
    known = [event for event in SqliteStore(desk.home).events(job.id) if not event.id.startswith("metric")]
    count = told(job.remote.id)
    return (
        [] if len(known) >= count and len({e.id for e in known}) == len(known) else [f"{len(known)} of {count} events"]
    )


def _worded(command: tuple[str, ...], stub: StubServer) -> list[str]:
    """Put the id of the job that is there into a command."""
    return [next(iter(stub.jobs)) if word == THERE else word for word in command]  # type: ignore[attr-defined]


def _clock(scene: Scene, ahead: float = 0.0) -> QuickClock:
    """Let nothing wait; where threads ask, the time must not run away from them."""
    return QuickClock(ahead, haste=HASTE / 3 if scene.command == ALL else float("inf"))


def acts() -> Sequence[str]:
    """Name all calls that are struck."""
    return [scene.name for scene in SCENES]


__all__ = ["SUBMIT", "Tally", "acts", "cells", "run"]
