"""Work beside the sweep, in lanes: one piece after another in each, and no lane waits for another.

A provider that answers slowly holds up its own jobs alone, and a submit that is carried on holds up none. What a lane
brings back is taken in by the sweep, in its own thread: there alone stands what all of them know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from anytune.jobs.desk import Desk

T = TypeVar("T")


class Lane(Protocol[T]):
    """Do pieces of work in order, each at a desk that it is given."""

    def start(self, work: Callable[[Desk], T]) -> None:
        """Begin a piece, now or when those before are through."""
        ...

    def done(self) -> list[T]:
        """Return what came of those that are through since the last question."""
        ...

    def close(self) -> None:
        """Begin nothing more."""
        ...


class Inline(Generic[T]):
    """Work at once, at the sweep's own desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._through: list[T] = []

    def start(self, work: Callable[[Desk], T]) -> None:
        """Do it to its end."""
        self._through.append(work(self._desk))

    def done(self) -> list[T]:
        """Return what came of it."""
        through, self._through = self._through, []
        return through

    def close(self) -> None:
        """Do nothing: nothing goes on here."""


@dataclass(frozen=True)
class Defect:
    """Be what ended a lane."""

    error: BaseException


class Beside(Generic[T]):
    """Work in a thread, at a desk of its own: `desk` makes it there, for a connection is one thread's.

    The thread ends with the process, wherever it is: what is half done then is as after a crash.
    """

    def __init__(self, desk: Callable[[], Desk], *, name: str = "lane") -> None:
        self._make, self._name = desk, name
        self._wanted: SimpleQueue[Callable[[Desk], T] | None] = SimpleQueue()
        self._through: SimpleQueue[T | Defect] = SimpleQueue()
        self._thread: Thread | None = None

    def start(self, work: Callable[[Desk], T]) -> None:
        """Put it behind those that are waiting."""
        self._wanted.put(work)
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def done(self) -> list[T]:
        """Return what came of those that are through; a defect is raised here."""
        through: list[T] = []
        while not self._through.empty():
            found = self._through.get()
            if isinstance(found, Defect):
                raise found.error
            through.append(found)
        return through

    def close(self) -> None:
        """Let the thread end after the piece that it is at."""
        self._wanted.put(None)

    def finish(self) -> list[T]:
        """Wait until all pieces are through, and return what came of them; nothing can be begun after."""
        self.close()
        if self._thread is not None:
            self._thread.join()
        return self.done()

    def _work(self) -> None:
        try:
            desk = self._make()
            while (work := self._wanted.get()) is not None:
                self._through.put(work(desk))
        except BaseException as error:
            self._through.put(Defect(error))
