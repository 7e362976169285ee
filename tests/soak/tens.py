"""Ten processes that submit the same job file at once: one remote job, ten equal answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.soak.place import Places
from tests.soak.work import OPENAI, TOGETHER, Desk, Hosted, laid_out, warm
from tests.stubs._process import served

TEN = 10


@dataclass
class Tally:
    """Count what happened; all but `rounds` and `answers` should be none."""

    rounds: int = 0
    answers: int = 0
    doubled: int = 0
    lost: int = 0
    extra: int = 0
    unequal: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.doubled or self.lost or self.extra or self.unequal or self.faults)


def run(places: Places, *, rounds: int, seed: int, providers: Sequence[Hosted] = (OPENAI, TOGETHER)) -> Tally:
    """Let the providers share the rounds."""
    del seed
    tally = Tally()
    with warm(*providers):
        for provider in providers:
            folder = places.folder / provider.name
            with served(provider.module, state=folder / "far") as far:
                share = -(-rounds // len(providers))
                for number in range(share):
                    _round(laid_out(folder / str(number), provider, far.origin, topic=f"round {number}"), tally)
                there = far.census()
                tally.doubled += max(0, len(there["jobs"]) - share)
                tally.lost += max(0, share - len(there["jobs"]))
                tally.extra += max(0, len(there["files"]) - share)
    return tally


def _round(desk: Desk, tally: Tally) -> None:
    together = get_context("fork").Barrier(TEN)
    answers = [desk.folder / f"answer{number}" for number in range(TEN)]
    children = [desk.forked("submit", "-y", out=answer, start=together.wait) for answer in answers]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = {answer.read_text().partition("\n")[0] for answer in answers}
    tally.rounds += 1
    tally.answers += TEN
    tally.unequal += len(said) != 1 or said != {job.id for job in desk.jobs()}
    tally.faults += desk.defects() + [f"ended with {code}" for code in codes if code != 0]
