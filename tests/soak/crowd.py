"""Two to eight processes on one record: all submit the same job at once, and ask, cancel and resume it at random.

The far side is one file for all of them. It keeps when each act on a job began and ended: two creates or uploads of one
job, or two acts on it that overlap, are double actions.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from anytune import jobs
from anytune.errors import AnytuneError
from anytune.providers.base import Provider
from anytune.schema.data import DataFile
from anytune.schema.job import Event, RemoteJob
from anytune.schema.plan import Plan
from anytune.testing import FakeProvider
from anytune.testing.fake import FakeService
from tests.rigs import make_plan, profile
from tests.soak.place import Place, Places

LONGEST_ACT = 0.002  # seconds that the far side takes, at most
SIZES = range(2, 9)


@dataclass
class Tally:
    """Count what happened; all but `rounds`, `processes` and `acts` should be none."""

    rounds: int = 0
    processes: int = 0
    acts: int = 0
    double: int = 0
    lost: int = 0
    unequal: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing went wrong."""
        return not (self.double or self.lost or self.unequal or self.errors)


class SharedFake(FakeProvider):
    """Be the fake provider for several processes: its far side is a file, and slow enough to be caught in an act."""

    def __init__(self, folder: Path) -> None:
        super().__init__(profile(folder), FakeService())
        self._state, self._journal = folder / "far.json", folder / "acts.jsonl"

    def upload(self, file: DataFile) -> str:
        with self._act("upload", "-"):
            return super().upload(file)

    def create(self, request: dict[str, Any]) -> RemoteJob:
        with self._act("create", request["tag"]), self._shared():
            return super().create(request)

    def find(self, job_id: str) -> RemoteJob | None:
        with self._shared():
            return super().find(job_id)

    def retrieve(self, remote_id: str) -> RemoteJob:
        with self._shared():
            return super().retrieve(remote_id)

    def events(self, remote_id: str) -> list[Event]:
        with self._shared():
            return super().events(remote_id)

    def cancel(self, remote_id: str) -> RemoteJob:
        with self._shared():
            tag = str(self._tag(remote_id))
        with self._act("cancel", tag), self._shared():
            return super().cancel(remote_id)

    @contextmanager
    def _act(self, act: str, tag: str) -> Iterator[None]:
        began = time.monotonic_ns()
        time.sleep(random.uniform(0, LONGEST_ACT))
        yield
        line = json.dumps({"act": act, "tag": tag, "began": began, "ended": time.monotonic_ns()})
        with self._journal.open("a") as file:
            file.write(line + "\n")

    @contextmanager
    def _shared(self) -> Iterator[None]:
        with self._state.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read()
            self.service.jobs = json.loads(text) if text else {}
            yield
            file.seek(0)
            file.truncate()
            file.write(json.dumps(self.service.jobs))


def run(places: Places, *, rounds: int, seed: int, sizes: Sequence[int] = SIZES) -> Tally:
    """Let crowds of each size share the rounds, each crowd on a record of its own."""
    tally = Tally()
    share = -(-rounds // len(sizes))
    for size in sizes:
        folder = places.folder / f"crowd{size}"
        folder.mkdir()
        _crowd(places.new(), folder, tally, size=size, rounds=share, seed=seed + size)
    return tally


def _crowd(place: Place, folder: Path, tally: Tally, *, size: int, rounds: int, seed: int) -> None:
    context = multiprocessing.get_context("fork")
    plan = make_plan(folder, SharedFake(folder))
    together, answers = context.Barrier(size), context.SimpleQueue()

    def one(number: int) -> None:
        _member(place, SharedFake(folder), plan, range(rounds), random.Random(seed * 100 + number), together, answers)

    crowd = [context.Process(target=one, args=(number,)) for number in range(size)]
    for process in crowd:
        process.start()
    said = [answers.get() for _ in range(size * rounds)]
    for process in crowd:
        process.join()
    _count(tally, place, folder, said, rounds=rounds, size=size)


def _member(
    place: Place,
    provider: Provider,
    plan: Plan,
    rounds: range,
    chance: random.Random,
    together: Any,
    answers: Any,
) -> None:
    """Take part in each round and say which job it was, or what went wrong."""
    random.seed(chance.random())
    desk = jobs.Desk(store=place.open(), provider=lambda _: provider)
    for number in rounds:
        spec = plan.spec.model_copy(update={"name": f"round-{number}"})
        together.wait()
        try:
            job = jobs.submit(plan.model_copy(update={"spec": spec}), desk=desk)
            for verb in chance.choices(VERBS, k=2):
                verb(job.id, desk)
            answers.put((number, job.id))
        except AnytuneError as error:
            answers.put((number, f"{type(error).__name__}: {error.message}"))
        except Exception as error:
            answers.put((number, f"{type(error).__name__}: {error}"))


def _look(job_id: str, desk: jobs.Desk) -> None:
    jobs.fetch_events(jobs.refresh(job_id, desk=desk), desk=desk)


def _cancel(job_id: str, desk: jobs.Desk) -> None:
    jobs.cancel(job_id, desk=desk)


def _resume(job_id: str, desk: jobs.Desk) -> None:
    jobs.resume(job_id, desk=desk)


VERBS: tuple[Callable[[str, jobs.Desk], None], ...] = (_look, _cancel, _resume)


def _count(tally: Tally, place: Place, folder: Path, said: list[tuple[int, str]], *, rounds: int, size: int) -> None:
    """Hold what the far side saw against what the record says and what each process was answered."""
    acts = [json.loads(line) for line in (folder / "acts.jsonl").read_text().splitlines()]
    known = {job.id: job for job in place.open().list()}
    created = Counter(act["tag"] for act in acts if act["act"] == "create")
    uploads = sum(act["act"] == "upload" for act in acts)
    cancels = Counter(act["tag"] for act in acts if act["act"] == "cancel")
    tally.rounds += rounds
    tally.processes += size
    tally.acts += len(acts)
    tally.double += sum(n - 1 for n in created.values()) + sum(n - 1 for n in cancels.values())
    tally.double += max(0, len(known) - rounds) + max(0, uploads - len(known)) + _overlaps(acts)
    tally.lost += len(created.keys() - known.keys()) + max(0, rounds - len(known))
    tally.errors += [answer for _, answer in said if answer not in known]
    tally.unequal += sum(len({answer for n, answer in said if n == number}) > 1 for number in range(rounds))


def _overlaps(acts: list[dict[str, Any]]) -> int:
    """Count the acts on a job that began before the one before them had ended."""
    found = 0
    for tag in {act["tag"] for act in acts} - {"-"}:
        ordered = sorted((act["began"], act["ended"]) for act in acts if act["tag"] == tag)
        found += sum(later[0] < earlier[1] for earlier, later in pairwise(ordered))
    return found
