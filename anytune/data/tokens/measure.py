"""Count the tokens of one record, and where its last answer stands among them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from anytune.data.content import Content, Turn, content
from anytune.data.tokens.counter import Counter

Count = Callable[[str], int]
_REMEMBERED = 128
_LONGEST_REMEMBERED = 1 << 15  # in characters


class Counted(NamedTuple):
    """Be a record in tokens.

    `tokens` are all that stand in it, `trained` those that are learnt, with the end of each message. `length` is that
    of the longest sequence made of it: of a pair, the input and the longer output. `answer_start` and `answer_end` are
    the places in that sequence between which its last trained text stands; both are `length` if none is trained.
    """

    tokens: int
    trained: int
    length: int
    answer_start: int
    answer_end: int

    def lost(self, limit: int) -> float:
        """Return the share of the last answer that is cut off where a sequence ends at `limit` tokens."""
        answer = self.answer_end - self.answer_start
        return max(0, self.answer_end - max(limit, self.answer_start)) / answer if answer else 0.0


def measure(record: Any, counter: Counter) -> Counted:
    """Count one decoded record exactly by this counter, the chat format's own tokens included."""
    return measure_content(content(record), counter, remembering(counter.count))


def measure_content(parts: Content, counter: Counter, count: Count) -> Counted:
    """Count what a record was taken apart into, with `count` for texts; see `remembering`."""
    if not parts.asked and not parts.outputs:
        return Counted(0, 0, 0, 0, 0)
    own = own_of(counter, any(turn.framed for turn in parts.turns))
    asked = _walk(parts.asked, Counted(own, 0, own, 0, 0), counter, count)
    if not parts.outputs:
        return asked if asked.answer_end else asked._replace(answer_start=asked.length, answer_end=asked.length)
    ends = [_walk(output, asked, counter, count) for output in parts.outputs]
    longest = max(ends, key=lambda end: end.length)
    return longest._replace(
        tokens=asked.tokens + sum(end.tokens - asked.tokens for end in ends), trained=sum(end.trained for end in ends)
    )


def own_of(counter: Counter, framed: int) -> int:
    """Return the tokens that a record has beside those of its messages, of which so many are `framed` by a format."""
    return counter.per_record if framed else counter.per_text


def remembering(count: Count) -> Count:
    """Return `count` with a memory of the last short texts, for what stands in many records."""
    remembered = lru_cache(maxsize=_REMEMBERED)(count)
    return lambda text: remembered(text) if len(text) <= _LONGEST_REMEMBERED else count(text)


def _walk(turns: tuple[Turn, ...], before: Counted, counter: Counter, count: Count) -> Counted:
    """Go on from `before`, whose tokens all stand in one sequence, by these turns."""
    tokens, trained, at, start, end = before
    around = (counter.per_message - 1, 1) if counter.per_message else (0, 0)
    for texts, learnt, framed in turns:
        held = sum(map(count, texts))
        head, tail = around if framed else (0, 0)
        if learnt:
            start, end = at + head, at + head + held + tail
            trained += end - start
        at += head + held + tail
    return Counted(tokens + at - before.length, trained, at, start, end)
