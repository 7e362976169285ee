"""Kill -9 at random instants while the record is written or taken up from an older schema; then look at all of it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

from anytune.schema.audit import first_broken
from anytune.schema.job import Event, Job, JobState, Summary
from anytune.store import JobStore
from anytune.testing import sample_job
from anytune.testing.store import START, sample_decision
from tests.soak.place import Place, Places

LONGEST_WRITING = 0.1  # seconds for which a writer lives, at most
FIRST_GUESS = 0.1  # seconds that it takes to take up a record
ROUNDS_A_PLACE = 25
OLD_JOBS = 20


@dataclass
class Tally:
    """Count what happened; `faults` should be none. `within` are the kills that struck in the middle of the work."""

    rounds: int = 0
    within: int = 0
    acknowledged: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not self.faults


def writes(places: Places, *, rounds: int, seed: int) -> Tally:
    """Kill a process that adds jobs, changes them, takes in events and writes decisions."""
    tally, chance = Tally(), random.Random(seed)
    place = places.new()
    for number in range(rounds):
        if number % ROUNDS_A_PLACE == 0:
            place = places.new()
        said = _killed(partial(_write, place, number), after=chance.uniform(0, LONGEST_WRITING))
        tally.rounds += 1
        tally.within += bool(said) and said[-1]["done"] is False
        tally.acknowledged += sum(line["done"] for line in said)
        tally.faults += [f"round {number}: {fault}" for fault in _missing(place, [s for s in said if s["done"]])]
    return tally


def migrations(places: Places, *, rounds: int, seed: int) -> Tally:
    """Kill a process that takes up the record of an earlier anytune, or makes a new one."""
    tally, chance = Tally(), random.Random(seed)
    longest = FIRST_GUESS
    for number in range(rounds):
        place, jobs = places.new(), [_job(number, n) for n in range(OLD_JOBS)]
        schema = number % place.schemas
        if schema:
            place.old(schema, jobs)
        said = _killed(partial(_take_up, place), after=chance.uniform(0, longest))
        if said and said[-1]["done"]:  # aim at the time that it takes here
            longest = 0.7 * longest + 0.3 * said[-1]["seconds"]
        tally.rounds += 1
        tally.within += bool(said) and not said[-1]["done"]
        tally.acknowledged += bool(said) and said[-1]["done"]
        tally.faults += [f"round {number}: {fault}" for fault in _changed(place, jobs if schema else [])]
    return tally


Tell = Callable[..., None]


def _killed(work: Callable[[Tell], None], *, after: float) -> list[dict[str, Any]]:
    """Run the work in a forked child, kill it some seconds after its first word, and return what it said."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hear)
            work(lambda **words: os.write(say, json.dumps(words).encode() + b"\n"))
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(hear, "rb") as heard:
        first = heard.readline()
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return [json.loads(line) for line in (first, *heard) if line.endswith(b"\n")]


def _job(round_number: int, number: int) -> Job:
    return sample_job(f"job-{round_number:05d}-{number:05d}", attempt=round_number * 1000 + number + 1)


def _write(place: Place, round_number: int, tell: Tell) -> None:
    """Write for ever; each act is told before it begins and after it returned."""
    store = place.open()
    for number in count():
        job = _job(round_number, number)
        for act, change in _changes(store, job):
            tell(act=act, id=job.id, done=False)
            change()
            tell(act=act, id=job.id, done=True)


def _changes(store: JobStore, job: Job) -> list[tuple[str, Callable[[], Any]]]:
    events = [Event(id=str(n), at=START + timedelta(seconds=n), message="step " * 50) for n in range(20)]
    return [
        ("add", lambda: store.add(job)),
        ("put", lambda: store.put(job.model_copy(update={"error": "changed"}))),
        ("events", lambda: store.add_events(job.id, events)),
        ("end", lambda: store.put(job.model_copy(update={"error": "changed", "state": JobState.FAILED}), ended=True)),
        ("decide", lambda: store.decide(sample_decision(job.id))),
    ]


def _missing(place: Place, acknowledged: list[dict[str, Any]]) -> list[str]:
    """Name what was acknowledged and is not there, and what is there and does not fit."""
    store = place.open()
    jobs = {job.id: job for job in store.list()}
    links = store.decisions()
    decided = {link.decision.job_id for link in links}
    news = {each.job_id for each in store.untold("nobody", since=START)}
    there = {
        "add": lambda job_id: job_id in jobs,
        "put": lambda job_id: job_id in jobs and jobs[job_id].error == "changed",
        "events": lambda job_id: [event.id for event in store.events(job_id)] == [str(n) for n in range(20)],
        "end": lambda job_id: job_id in news and jobs[job_id].state is JobState.FAILED,
        "decide": lambda job_id: job_id in decided,
    }
    faults = [f"{line['act']} of {line['id']} is lost" for line in acknowledged if not there[line["act"]](line["id"])]
    faults += [f"{job_id} has half its events" for job_id in jobs if len(store.events(job_id)) not in {0, 20}]
    faults += [
        f"the end of {job.id} and its news differ" for job in jobs.values() if (job.id in news) != job.state.is_terminal
    ]
    faults += ["the chain is broken"] if first_broken(links) is not None else []
    return faults + _unfit(place, store)


def _take_up(place: Place, tell: Tell) -> None:
    began = time.monotonic()
    tell(done=False)
    place.open()
    tell(done=True, seconds=time.monotonic() - began)
    signal.pause()


def _changed(place: Place, jobs: list[Job]) -> list[str]:
    store = place.open()
    faults = ["jobs are lost or changed"] if sorted(j.id for j in store.list()) != [j.id for j in jobs] else []
    store.decide(sample_decision())
    return faults + _unfit(place, store)


def _unfit(place: Place, store: JobStore) -> list[str]:
    faults = [] if place.whole() else ["the file is corrupt"]
    if list(store.summaries()) != [Summary.of(job) for job in store.list()]:
        faults.append("the summaries are not those of the jobs")
    return faults
