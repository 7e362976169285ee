"""Where numbers may stand, and the words that say what a number is."""

from __future__ import annotations

import re
from collections.abc import Iterator

SPACES = " \u00a0\u2007\u2009\u202f"
HYPHENS = "\\-\u2010\u2011\u2012\u2013"
GAPS = f"{SPACES}{HYPHENS}"
FEWEST_DIGITS = 6
# What a value must stand apart from: ASCII letters and digits, joined by an underscore or not. Scripts that write no
# spaces set letters beside it, and Markdown sets underscores around it.
APART_BEFORE = "(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)"
APART_AFTER = "(?![A-Za-z0-9])(?!_[A-Za-z0-9])"
LETTERS = "A-Za-z0-9_\u00c0-\u024f"  # of words in Latin letters: no `tel` stands in `hôtel`
_MARGIN = 32  # characters around a run of digits: the head of an IBAN, the letters of a NINO
_NEAR = 40  # characters before a number in which a word may name it
_RUN = re.compile(rf"[0-9](?:[{GAPS}.()/+]{{0,3}}[0-9]){{{FEWEST_DIGITS - 1},}}")
_OTHERS = re.compile(r"[^0-9A-Za-z]+")


def windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text in which a number of FEWEST_DIGITS digits stands, with a margin, apart from another."""
    start = end = -1
    for run in _RUN.finditer(text):
        if start >= 0 and run.start() - _MARGIN <= end:
            end = run.end() + _MARGIN
            continue
        if start >= 0:
            yield start, end
        start, end = max(0, run.start() - _MARGIN), run.end() + _MARGIN
    if start >= 0:
        yield start, end


def compact(written: str) -> str:
    """Return a number without the signs that group it, in capitals."""
    return _OTHERS.sub("", written).upper()


def is_named(text: str, start: int, words: re.Pattern[str]) -> bool:
    """Tell whether one of the words stands shortly before."""
    return words.search(text, max(0, start - _NEAR), start) is not None
