"""Kill -9 at random instants, by time and not by step, from the submit of a job to its end, while the service is noisy.

Whatever a killed command left behind, the next one goes on from there, until the job has ended; then the record is held
against what the far side has.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anytune.schema.job import Job, JobState
from tests.soak.place import Places
from tests.soak.work import FINISH, OPENAI, TOGETHER, Desk, Hosted, laid_out, warm
from tests.stubs._process import Served, served

NOISE = 0.08  # the share of all calls that are struck
LIVES_A_SERVER = 20  # its lists grow with the jobs that were made there
MOST_COMMANDS = 200  # for one life; one that has not ended by then is stuck
SPANS = (0.2, 0.6)  # seconds within which a kill strikes: those of a submit, those of a whole life
LATER = (FINISH, ("watch", "last"), ("resume", "last", "-y"), ("submit", "-y"), ("show", "last"))
EXITS = {0, 1, 3, 6, 7}


@dataclass
class Tally:
    """Count what happened. `struck` says how far the job was at each kill, `extra` are files sent more than once."""

    lives: int = 0
    kills: int = 0
    commands: int = 0
    lost: int = 0
    doubled: int = 0
    extra: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing was lost or doubled, and at most one file a hundred kills sent again."""
        return not (self.lost or self.doubled or self.faults) and self.extra * 100 <= max(self.kills, 100)


def run(
    places: Places, *, rounds: int, seed: int, noise: float = NOISE, providers: Sequence[Hosted] = (OPENAI, TOGETHER)
) -> Tally:
    """Live lives until `rounds` kills have struck, the same share at each provider."""
    tally, chance = Tally(), random.Random(seed)
    with warm(*providers):
        for number, provider in enumerate(providers, 1):
            wanted, batch = rounds * number // len(providers), 0
            while tally.kills < wanted and not tally.faults:
                folder, batch = places.folder / f"{provider.name}{batch}", batch + 1
                with served(provider.module, state=folder / "far") as far:
                    far.order("disturb", share=noise, seed=chance.randrange(10**6))
                    far.set(hide_new=1)
                    _lives(far, folder, provider, tally, chance, until=wanted)
    return tally


def _lives(far: Served, folder: Path, provider: Hosted, tally: Tally, chance: random.Random, *, until: int) -> None:
    lived: list[Job] = []
    for number in range(LIVES_A_SERVER):
        if tally.kills >= until:
            break
        desk = laid_out(folder / str(number), provider, far.origin, topic=f"life {number}")
        _live(desk, tally, chance)
        tally.lives += 1
        tally.faults += desk.defects()
        lived += desk.jobs()
        if [job.state for job in desk.jobs()] != [JobState.SUCCEEDED]:
            tally.lost += 1
            tally.faults.append(f"{desk.folder}: {[(job.id, job.state, job.error) for job in desk.jobs()]}")
    count(far.census(), lived, tally)


def count(there: dict[str, Any], lived: list[Job], tally: Tally) -> None:
    """Hold the jobs and files of the far side against the lives that were lived there."""
    known = {job.remote.id for job in lived if job.remote is not None}
    made = {str(job["id"]) for job in there["jobs"]}
    tally.doubled += len(made - known)
    tally.lost += len(known - made)
    tally.extra += len(there["files"]) - len(set(there["files"]))


def _live(desk: Desk, tally: Tally, chance: random.Random) -> None:
    for _ in range(MOST_COMMANDS):
        jobs = desk.jobs()
        if jobs and all(job.state.is_terminal for job in jobs):
            return
        command = chance.choice(LATER) if jobs and jobs[0].remote is not None else FINISH
        began = time.monotonic()
        status = _killed(desk.forked(*command), after=chance.uniform(0, chance.choice(SPANS)))
        tally.commands += 1
        if os.WIFSIGNALED(status):
            tally.kills += 1
            how_far = _how_far(desk.jobs())
            tally.struck[how_far] = tally.struck.get(how_far, 0) + 1
        elif (code := os.waitstatus_to_exitcode(status)) not in EXITS:
            tally.faults.append(f"{' '.join(command)} ended with {code} after {time.monotonic() - began:.1f} s")


def _killed(child: int, *, after: float) -> int:
    """Wait so many seconds, kill the process if it still runs, and return how it ended."""
    until = time.monotonic() + after
    while (left := until - time.monotonic()) > 0:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(min(left, 0.01))
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _how_far(jobs: Sequence[Job]) -> str:
    if not jobs:
        return "before the record"
    job = jobs[0]
    if job.remote is not None:
        return "ended" if job.state.is_terminal else "followed"
    if job.creating is not None:
        return "creating"
    return "uploaded" if job.files else "uploading"
