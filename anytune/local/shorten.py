"""Cut off the oldest of what stands before an answer: whole messages where that is enough, else a text's beginning.

The instructions at the head (`system`, `developer`) stay, and so does the answer. First go whole rounds, each from one
question to the next; then, within the last one, calls of tools with their results, but for those right before the
answer. If that is not enough, the longest question or tool's result that is left loses as much of its beginning as it
must. What the assistant says is never cut: a model would learn to begin in the middle.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence, Sized
from itertools import takewhile
from typing import Any

from anytune.errors import UsageError
from anytune.local.messages import Message

INSTRUCTIONS = ("system", "developer")
GIVEN = ("user", "tool", "function")  # whose texts may lose their beginning
Record = dict[str, Any]


def longest(
    asked: Sequence[Message],
    make: Callable[[list[Message]], Record],
    encode: Callable[[Record], Sized],
    starts: Callable[[str], Sequence[int]],
    *,
    most: int,
) -> Record | None:
    """Return the record that keeps most of what was asked within `most` tokens; None if there is none.

    `make` puts a record together from what is asked, `encode` turns it into tokens, and `starts` says at which
    characters the tokens of a text begin. What the template refuses counts as too long.
    """

    def fits(messages: list[Message]) -> bool:
        try:
            return len(encode(make(messages))) <= most
        except UsageError:
            return False

    whole = [list(asked), *rounds(asked), *steps(asked)]
    if (at := _first(len(whole), lambda at: fits(whole[at]))) is not None:
        return make(whole[at])
    rest = whole[-1]
    place = max(_texts(rest), key=lambda at: len(rest[at]["content"]), default=None)
    if place is None:
        return None
    text: str = rest[place]["content"]
    begins = [start for start in starts(text) if start > 0]

    def cut(at: int) -> list[Message]:
        return [*rest[:place], {**rest[place], "content": text[begins[at] :]}, *rest[place + 1 :]]

    at = _first(len(begins), lambda at: fits(cut(at)))
    return None if at is None else make(cut(at))


def rounds(asked: Sequence[Message]) -> list[list[Message]]:
    """Return what was asked without its first round, without its first two, and so on to the last question."""
    head = _head(asked)
    return [[*head, *asked[at:]] for at in _places(asked, "user") if at > len(head)]


def steps(asked: Sequence[Message]) -> list[list[Message]]:
    """Return the last question without the first step that was taken to answer it, and so on to the last step."""
    questions = _places(asked, "user")
    if not questions:
        return []
    taken = [at for at in _places(asked, "assistant") if at > questions[-1]]
    return [[*_head(asked), asked[questions[-1]], *asked[at:]] for at in taken[1:]]


def _head(asked: Sequence[Message]) -> list[Message]:
    return list(takewhile(lambda message: message["role"] in INSTRUCTIONS, asked))


def _places(asked: Sequence[Message], role: str) -> list[int]:
    return [at for at, message in enumerate(asked) if message["role"] == role]


def _texts(asked: Sequence[Message]) -> list[int]:
    """Return the places of the texts that may lose their beginning."""
    return [
        at for at, message in enumerate(asked) if message["role"] in GIVEN and isinstance(message.get("content"), str)
    ]


def _first(count: int, good: Callable[[int], bool]) -> int | None:
    """Return the first of some places that is good, where all after a good one are good; None if there is none."""
    at = bisect_left(range(count), True, key=good)
    return at if at < count else None
