"""Tell those whom the user named, beside the watch: a hook that is slow holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Self

from anytune.errors import AnytuneError

if TYPE_CHECKING:
    from anytune.jobs import Desk
    from anytune.outbox import Due
    from anytune.tuner import Tuner


class Teller:
    """Tell what is due, in a lane of its own: also what a process left that was killed; at the end all is waited for.

    Who leaves with Ctrl-C does not wait.
    """

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner
        self._lane = tuner.lane("notifications")
        self._begun: set[str] = set()

    def look(self) -> None:
        """Begin to tell what has become due."""
        for due in self._tuner.due():
            if due.news.id not in self._begun:
                self._begun.add(due.news.id)
                self._lane.start(partial(self._told, due))

    def wrong(self) -> Iterator[str]:
        """Yield what went wrong with those that were told since the last question."""
        return chain.from_iterable(self._lane.done())

    def _told(self, due: Due, desk: Desk) -> Sequence[str]:
        wrong = self._tuner.tell(due, store=desk.store)
        self._begun.discard(due.news.id)
        return wrong

    def __enter__(self) -> Self:
        self.look()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from anytune.ui import terminal

        if error is None or isinstance(error, AnytuneError):
            self.look()
            for wrong in chain.from_iterable(self._lane.finish()):
                terminal.note(wrong, style="yellow")
