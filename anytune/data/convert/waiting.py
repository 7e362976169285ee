"""Hold the calls that wait for an answer, so that the oldest is found at once however many there are."""

from __future__ import annotations

from collections import deque
from itertools import count


class Waiting:
    """Hold the ids of open calls in their order, of all and of each function; those that were closed go later."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._all: deque[tuple[int, str]] = deque()
        self._named: dict[str, deque[tuple[int, str]]] = {}
        self._count = count()

    def add(self, number: str, name: str) -> None:
        """Open a call; one of the same id that is open gives way to it."""
        turn = next(self._count)
        self._open[number] = turn
        self._all.append((turn, number))
        self._named.setdefault(name, deque()).append((turn, number))

    def close(self, number: str) -> None:
        """Take out the call that was answered."""
        self._open.pop(number, None)

    def oldest(self, name: object) -> str | None:
        """Return the id of the oldest open call of a function, of any if none is of this one, None if none is open."""
        named = self._named.get(name) if isinstance(name, str) else None
        return self._first(named) or self._first(self._all)

    def _first(self, calls: deque[tuple[int, str]] | None) -> str | None:
        """Return the first that is still open, and forget those before it."""
        while calls:
            turn, number = calls[0]
            if self._open.get(number) == turn:
                return number
            calls.popleft()
        return None
