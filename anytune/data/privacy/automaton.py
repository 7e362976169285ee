"""Screen lines by RE2's automata, which read each byte once for all patterns."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from anytune.data.privacy.core import JWT, KEY, SENDGRID
from anytune.data.privacy.number import FEWEST_DIGITS
from anytune.data.privacy.text import AT, CODICE, NUMBER, PEM, RUN, V4, V6, WORD
from anytune.data.privacy.walk import each_line


def make(wanted: int) -> Callable[[bytes], Iterator[tuple[int, int]]]:
    """Return what looks for these families, as `core.make` does; raise ImportError without the library.

    One pattern finds the few lines that may hold something, a set of patterns then tells what.
    """
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    if not wanted:
        return lambda _: iter(())  # and not a pattern of nothing, which stands everywhere
    patterns = [(family, pattern) for family, pattern in _PATTERNS if family & wanted]
    numbers = _NUMBERS if wanted & NUMBER else ()
    any_of_them = [f"(?:{pattern})" for pattern in (*(p for _, p in patterns), *((_SIX_DIGITS,) if numbers else ()))]
    search = re2.compile("|".join(any_of_them).encode(), options).search
    tell = _telling(re2, options, [*patterns, *numbers])

    def find(text: bytes, at: int) -> int:
        found = search(text, at)
        return found.start() if found else -1

    def look(text: bytes) -> Iterator[tuple[int, int]]:
        for start, end in each_line(text, find):
            yield start, tell(text[start:end])

    return look


def _telling(re2: Any, options: Any, patterns: list[tuple[int, str]]) -> Callable[[bytes], int]:
    """Return what tells the families that a line may hold."""
    screen = re2.Set.SearchSet(options)
    for _, pattern in patterns:
        screen.Add(pattern)
    screen.Compile()

    def tell(line: bytes) -> int:
        found = 0
        for index in screen.Match(line) or ():
            found |= patterns[index][0]
        if any(found & both == both for both in _TOGETHER):
            found |= NUMBER
        return found & ~_PARTLY

    return tell


_GAP = r"[ \-.()/+\\\x80-\xff]*"
_ONE = r"[ .\-\x80-\xff]{0,3}"
_PATTERNS = (
    (AT, r"@"),
    (CODICE, r"[A-Za-z]{6}[0-9]{2}[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]"),
    (V4, r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
    (V6, r"[23fF][0-9a-fA-F]{3}:[0-9a-fA-F:]|::[fF]{4}:"),
    (RUN, rf"{KEY}|(?:{JWT}|{SENDGRID.replace('.', '[.]')})[A-Za-z0-9_\-]{{8}}"),
    (
        WORD,
        r"(?i)(?:passwor[dt]|passwd|passphrase|pwd|secret|token|key)[\"'`\\]*(?:\\[nrtbf]|\s)*(?:[:=]|is)|bearer",
    ),
    (PEM, r"PRIVATE KEY"),
)
# What two patterns tell only together: seven digits and a word that makes them a telephone's, six and an IBAN's head.
_SEVEN, _NAMING, _SIX, _HEAD = (1 << bit for bit in range(8, 12))
_TOGETHER = (_SEVEN | _NAMING, _SIX | _HEAD)
_PARTLY = _SEVEN | _NAMING | _SIX | _HEAD
_SIX_DIGITS = rf"[0-9](?:{_GAP}[0-9]){{{FEWEST_DIGITS - 1}}}"  # every number has as many
_NUMBERS = (
    (NUMBER, rf"[0-9](?:{_GAP}[0-9]){{8}}"),
    (NUMBER, rf"\+{_GAP}[0-9](?:{_GAP}[0-9]){{6}}"),
    (NUMBER, rf"[0-9]{{2}}\.?[0-9]{{3}}\.?[0-9]{{3}}{_ONE}[A-Z]"),  # DNI
    (NUMBER, rf"[XYZ]{_ONE}[0-9]{{7}}{_ONE}[A-Z]"),  # NIE
    (NUMBER, rf"[A-Za-z]{{2}}(?:{_ONE}[0-9]{{2}}){{3}}{_ONE}[A-Da-d]"),  # NINO
    (_HEAD, rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_ONE}[A-Za-z0-9]){{11}}"),
    (_SIX, _SIX_DIGITS),
    (_SEVEN, rf"[0-9](?:{_GAP}[0-9]){{6}}"),
    (
        _NAMING,
        r"(?i)phone|tel(?:[^a-z]|ef|em)|mobil|vil[^a-z]|cell?[^a-z]|cell?u|fax|whats|sms|hotline|dial[^a-z]|handy|rufnummer"
        r"|portable|text me|(?:call|ring|reach|contact) (?:me|us|him|her|them|at|on)|(?:my|his|her|their|our) number",
    ),
)
