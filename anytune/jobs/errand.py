"""Submits that were begun and not finished: carried on beside the sweep, one at a time, so that nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from anytune.errors import AnytuneError
from anytune.jobs.desk import Desk
from anytune.jobs.submit import carry_on

Done = tuple[str, AnytuneError | None]


class Errands(Protocol):
    """Finish submits."""

    def start(self, job_id: str) -> None:
        """Begin to carry a submit on, now or when those before are through."""
        ...

    def done(self) -> list[Done]:
        """Return those that are through since the last question, and what stopped them."""
        ...


class Inline:
    """Carry a submit on at once, at the sweep's own desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._through: list[Done] = []

    def start(self, job_id: str) -> None:
        """Carry it on to its end."""
        self._through.append((job_id, _stopped(job_id, self._desk)))

    def done(self) -> list[Done]:
        """Return those that are through."""
        through, self._through = self._through, []
        return through


class Beside:
    """Carry submits on in a thread, at a desk of its own: `desk` makes it there, for a connection is one thread's.

    The thread ends with the process, wherever it is: what is half done then is as after a crash.
    """

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self._make = desk
        self._wanted: SimpleQueue[str] = SimpleQueue()
        self._through: SimpleQueue[Done | BaseException] = SimpleQueue()
        self._thread: Thread | None = None

    def start(self, job_id: str) -> None:
        """Put it behind those that are waiting."""
        self._wanted.put(job_id)
        if self._thread is None:
            self._thread = Thread(target=self._work, name="errands", daemon=True)
            self._thread.start()

    def done(self) -> list[Done]:
        """Return those that are through; a defect is raised here."""
        through: list[Done] = []
        while not self._through.empty():
            found = self._through.get()
            if isinstance(found, BaseException):
                raise found
            through.append(found)
        return through

    def _work(self) -> None:
        try:
            desk = self._make()
            while True:
                job_id = self._wanted.get()
                self._through.put((job_id, _stopped(job_id, desk)))
        except BaseException as error:
            self._through.put(error)


def _stopped(job_id: str, desk: Desk) -> AnytuneError | None:
    try:
        carry_on(job_id, desk=desk)
    except AnytuneError as error:
        return error
    return None
