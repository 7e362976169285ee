"""The tokens of an example as stretches of one kind: trained, only read, cut off; and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from anytune.ui import words

MOST_READ = 96  # tokens of a stretch that are shown whole; of a longer one both ends
MOST_TRAINED = 240
MOST_STRETCHES = 8  # at each end of an example, and on each side of the cut
READ, TRAINED, LOST, LOST_ANSWER, NOTE = "dim", "bold green", "dim strike", "red strike", "yellow"
SHOWN = "\u200c\u200d\u3000"  # joiners, without which some scripts and emoji fall apart, and the wide space
BRACKETS = (("«", "»"), ("⟦", "⟧"), ("{{{", "}}}"))


class Stretch(NamedTuple):
    """Be neighbouring tokens, from `start` up to `end`, of one kind."""

    start: int
    end: int
    trained: bool
    lost: bool

    @property
    def most(self) -> int:
        """Return how many of its tokens are shown."""
        return MOST_TRAINED if self.trained else MOST_READ

    @property
    def style(self) -> str:
        """Return how it looks where there are colours."""
        if self.lost:
            return LOST_ANSWER if self.trained else LOST
        return TRAINED if self.trained else READ


class Signs(NamedTuple):
    """Be the marks that a screen or a pipe can show; `brackets` stand around what is trained, where no colour does."""

    brackets: tuple[str, str]
    newline: str
    cut: str
    left_out: str


def stretches_of(trained: Sequence[bool], ends_at: float) -> list[Stretch]:
    """Cut an example where training begins or ends, and where it is cut off."""
    kinds = [(mark, at >= ends_at) for at, mark in enumerate(trained)]
    changes = [at for at in range(1, len(kinds)) if kinds[at] != kinds[at - 1]]
    borders = pairwise([0, *changes, len(kinds)] if kinds else [])
    return [Stretch(start, end, *kinds[start]) for start, end in borders]


def signs_for(on: Console, examples: Sequence[dict[str, Any]]) -> Signs:
    """Choose marks that the output can show and the texts do not hold."""
    text = "".join(part for example in examples for part in example["texts"])
    coloured = on.is_terminal and on.color_system is not None and not on.no_color
    free = [pair for pair in BRACKETS if _can_show(on, "".join(pair)) and not any(mark in text for mark in pair)]
    brackets = ("", "") if coloured else free[0] if free else BRACKETS[-1]
    return Signs(brackets, "⏎", "✂", "…") if _can_show(on, "⏎✂…") else Signs(brackets, "\\n", "8<", "...")


def _can_show(on: Console, text: str) -> bool:
    try:
        return bool(text.encode(on.encoding))
    except UnicodeEncodeError:
        return False


def blocks(example: dict[str, Any], ends_at: float, signs: Signs, *, every: bool) -> Iterator[Text]:
    """Yield the tokens up to the cut, the cut, and the tokens after it."""
    stretches = stretches_of(example["trained"], ends_at)
    text, last = Text(), -1
    for at in range(len(stretches)) if every else _kept(stretches):
        one = stretches[at]
        if at > last + 1:
            text.append(_left_out(one.start - stretches[last].end, signs), style=NOTE)
        if one.lost and (at == 0 or not stretches[at - 1].lost):
            yield text
            yield Text(f"{signs.cut}  max_length {ends_at:,} ends here", style=NOTE)
            text = Text()
        text.append_text(_drawn(example["texts"][one.start : one.end], one, signs, every=every))
        last = at
    if text.plain.endswith("\n"):
        text.right_crop(1)
    if text:
        yield text


def _kept(stretches: Sequence[Stretch]) -> list[int]:
    """Return which stretches are shown: those at both ends and around the cut."""
    cut = sum(not one.lost for one in stretches)
    centres = (0, len(stretches), *([cut] if cut < len(stretches) else []))
    near = {at for centre in centres for at in range(centre - MOST_STRETCHES, centre + MOST_STRETCHES)}
    return sorted(near & set(range(len(stretches))))


def is_long(example: dict[str, Any], ends_at: float) -> bool:
    """Tell whether an example is not shown whole."""
    stretches = stretches_of(example["trained"], ends_at)
    return len(_kept(stretches)) < len(stretches) or any(one.end - one.start > one.most for one in stretches)


def _drawn(texts: Sequence[str], stretch: Stretch, signs: Signs, *, every: bool) -> Text:
    """Return the text of a stretch, without its middle if it is long."""
    before, after = signs.brackets if stretch.trained else ("", "")
    if every or len(texts) <= stretch.most:
        return Text(before + _visible(texts, signs) + after, style=stretch.style)
    half = stretch.most // 2
    return Text.assemble(
        (before + _visible(texts[:half], signs), stretch.style),
        (_left_out(len(texts) - 2 * half, signs), NOTE),
        (_visible(texts[-half:], signs) + after, stretch.style),
    )


def _left_out(tokens: int, signs: Signs) -> str:
    return f"[{signs.left_out}{words.count(tokens, 'token')} left out{signs.left_out}]"


def _visible(texts: Sequence[str], signs: Signs) -> str:
    """Return the text with a sign at each line break, and other characters that nobody sees written out."""
    return "".join(
        f"{signs.newline}\n" if c == "\n" else c if c.isprintable() or c in SHOWN else ascii(c)[1:-1]
        for c in "".join(texts)
    )
