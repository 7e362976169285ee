"""Say when a job is looked at next: often while something may happen, seldom while it only runs on.

A look at a hosted job is one call, and the question for its events another. So the looks come apart as a state lasts,
and close up again where the end is near. Events are asked for when something about the job has changed. Where nothing
has, every third look, or every second one where 40 seconds pass, asks for them in place of the job, and for the job
only if there were some. So a look is one call, and a second one where something happened: a job of six hours of which
nothing changes costs some 640 calls.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from anytune.schema.job import Event, Job, JobState, RemoteJob

POLL = {True: (0.25, 2.0), False: (5.0, 36.0)}  # first and longest wait in seconds: on this machine, hosted
WAITING = frozenset((JobState.VALIDATING, JobState.QUEUED))
_LASTED = 20  # a look for each twentieth of the time that a state has lasted
_AHEAD = 4  # and for each quarter of the time that is said to be left, or to have passed since
_EACH, _LATEST = 3, 40.0  # looks, and seconds, after which events are asked for though nothing has changed


class Pace:
    """Follow one job from `now` on, in seconds of a clock that never runs backwards."""

    def __init__(self, now: float, *, local: bool) -> None:
        self._local = local
        self._shortest, self._longest = POLL[local]
        self._wait = self._shortest
        self._seen: RemoteJob | None = None
        self._state: JobState | None = None
        self._since = self._asked = now
        self._looks = 0
        self._end: float | None = None

    def asks(self, job: Job) -> bool:
        """Tell whether the events of a job, as it was just seen, are to be asked for."""
        if job.state in WAITING:  # a queue has nothing to tell, however often a provider dates the job anew
            return _unmarked(job.remote) != _unmarked(self._seen)
        return self._local or job.remote != self._seen

    def listens(self, job: Job, now: float) -> bool:
        """Tell whether this look is for the events of a job alone, as it was last seen."""
        if self._local or job.state in WAITING or self._seen is None or job.remote != self._seen:
            return False
        return self._looks + 1 >= _EACH or (self._looks > 0 and now - self._asked >= _LATEST)

    def took(self, job: Job, events: Sequence[Event] | None, now: float) -> None:
        """Note what a look brought; `events` are the new ones, None where they were not asked for."""
        if job.state is not self._state:
            self._state, self._since, self._end = job.state, now, None
        self._looks += 1
        if events is not None:
            self._seen, self._asked, self._looks = job.remote, now, 0
            left = seconds_left(events)
            self._end = self._end if left is None else now + left
        self._wait = self._halved(events) if self._local else self._lasting(now)

    def missed(self, now: float) -> None:
        """Note a look that failed."""
        self._wait = min(self._wait * 1.5, self._longest) if self._local else self._lasting(now)

    def pause(self) -> float:
        """Return for how many seconds to wait, never twice the same."""
        return self._wait * random.uniform(0.8, 1.2)

    def _halved(self, events: Sequence[Event] | None) -> float:
        return max(self._shortest, self._wait / 2) if events else min(self._wait * 1.5, self._longest)

    def _lasting(self, now: float) -> float:
        wait = (now - self._since) / _LASTED
        if self._end is not None:
            wait = min(wait, abs(self._end - now) / _AHEAD)
        return min(max(wait, self._shortest), self._longest)


def _unmarked(remote: RemoteJob | None) -> RemoteJob | None:
    return remote and remote.model_copy(update={"mark": ""})


def seconds_left(events: Sequence[Event]) -> float | None:
    """Return how long a job still trains, by its newest figures: what it says itself, or the pace of its steps."""
    for event in reversed(events):
        if (left := _number(event.data.get("eta_seconds", event.data.get("eta")))) is not None:
            return left
    steps = [(step, event) for event in events if (step := _number(event.data.get("step"))) is not None]
    if not steps:
        return None
    (before, first), (step, last) = steps[0], steps[-1]
    total, passed = _number(last.data.get("total_steps")), (last.at - first.at).total_seconds()
    return (total - step) * passed / (step - before) if total is not None and step > before and passed > 0 else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
