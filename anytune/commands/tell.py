"""Tell those whom the user named, beside the watch: a hook that is slow holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

from anytune.errors import AnytuneError

if TYPE_CHECKING:
    from anytune.jobs import Desk
    from anytune.tuner import Tuner


class Teller:
    """Tell one document after the other, in a lane of its own; at the end of the watch all are waited for.

    Who leaves with Ctrl-C does not wait.
    """

    def __init__(self, tuner: Tuner) -> None:
        self.wanted = tuner.settings.notify.wanted
        self._tuner = tuner
        self._lane = tuner.lane("notifications")

    def tell(self, document: dict[str, Any]) -> None:
        """Begin to tell it, where anybody is to be told."""
        if self.wanted:
            self._lane.start(partial(self._told, document))

    def wrong(self) -> Iterator[str]:
        """Yield what went wrong with those that were told since the last question."""
        return chain.from_iterable(self._lane.done())

    def _told(self, document: dict[str, Any], _: Desk) -> Sequence[str]:
        return self._tuner.notify(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from anytune.ui import terminal

        if error is None or isinstance(error, AnytuneError):
            for wrong in chain.from_iterable(self._lane.finish()):
                terminal.note(wrong, style="yellow")
