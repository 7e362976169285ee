"""Screen lines with Python's own means: searches for plain bytes, where they can be, are far quicker than patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from anytune.data.privacy.number import FEWEST_DIGITS
from anytune.data.privacy.secret import SHORTEST_KEY
from anytune.data.privacy.text import AT, CODICE, NUMBER, PEM, RUN, V4, V6, WORD
from anytune.data.privacy.walk import Find, each_line, first, literal

# How each shape of a key in `secret` begins, and no more of it than any has; and what points part.
KEY = (
    r"(?:A[KS]IA|AIza|GOCSPX-|gh[opsur]_|github_pat_|gl[a-z]{1,3}t-|xox[a-z]-|xapp-|hf_|tgp_|[sr]k_live_|npm_|pypi-|SK"
    r"|gsk_|r8_|xai-|pplx-|fw_|do[opr]_v1_|dapi|shp[a-z]{2}_|sk-|glsa_|ATATT3|lin_api_"
    r"|pcsk_|ntn_|nvapi-|lsv2_|dckr_|figd_|NRAK-|LTAI|sbp_)[A-Za-z0-9_\-]{8}"
)
JWT, SENDGRID = "eyJ", "SG."


def make(wanted: int) -> Callable[[bytes], Iterator[tuple[int, int]]]:
    """Return what looks for these families: it yields where lines start, each with families that it may hold."""
    looks = [look for look in _LOOKS if look.family & wanted]

    def look(text: bytes) -> Iterator[tuple[int, int]]:
        for family, prepare, finds in looks:
            prepared = prepare(text)
            for find in finds:
                for start, _ in each_line(prepared, find):
                    yield start, family
        if wanted & NUMBER:
            yield from _numbers(text)
        if wanted & (RUN | CODICE):
            yield from _runs(text)

    return look


def _numbers(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the lines with enough digits that nothing but gaps parts; an escape is no gap, and holds no digits."""
    signs = text.translate(_SIGNS)
    for start, end in each_line(signs, first(_NUMBER)):
        if text.find(b"\\u", start, end) < 0 or _NUMBER.search(_ESCAPE.sub(b"x", text[start:end]).translate(_SIGNS)):
            yield start, NUMBER


def _runs(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the lines with a run of letters and digits that may be a key or a code, or with a token beside one."""
    letters = text.translate(_LETTERS)
    for start, end in each_line(letters, literal(_LONG)):
        found = RUN if any(text.find(token, start, end) >= 0 for token in _TOKENS) else 0
        at = start
        while (at := letters.find(_LONG, at, end)) >= 0:
            stop = letters.find(b" ", at, end)
            stop = stop if stop >= 0 else end
            if stop - at >= SHORTEST_KEY and _KEY.search(text, at, stop):
                found |= RUN
            if _CODICE.search(text, at, stop):
                found |= CODICE
            at = stop
        yield start, found


def _table(*classes: tuple[bytes, bytes]) -> bytes:
    """Return a table that sets one byte for those of a class and a space for all others; line feeds stay."""
    table = bytearray(b" " * 256)
    for members, stand_in in (*classes, (b"\n", b"\n")):
        for member in members:
            table[member] = stand_in[0]
    return bytes(table)


_DIGIT = b"0123456789"
_LETTER = bytes(c for c in range(128) if chr(c).isalpha())
_GAPS = b" -.()/+\\" + bytes(range(128, 256))
_SIGNS = _table((_DIGIT, b"0"), (_GAPS, b"-"))
_LETTERS = _table((_LETTER + _DIGIT + b"_-", b"a"))
_NUMBER = re.compile(b"0" + b"-*+0" * (FEWEST_DIGITS - 1))
_ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}")
_KEY = re.compile(KEY.encode())
_TOKENS = (JWT.encode(), SENDGRID.encode())
_CODICE = re.compile(rb"[A-Za-z]{6}[0-9]{2}[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]")
_LONG = b"a" * 16  # as long as a codice fiscale is, and the first part of any web token
_SIGN = rb"[\"'`\\]*+(?:\\[nrtbf]|\s)*+(?:[:=]|is)"


class _Look(NamedTuple):
    """Be what a family cannot be without, in the text as it is prepared.

    A pattern that begins with plain bytes is found ten times faster than one that begins with a choice.
    """

    family: int
    prepare: Callable[[bytes], bytes]
    finds: tuple[Find, ...]


def _pattern(pattern: bytes) -> Find:
    return first(re.compile(pattern))


_LOOKS = (
    _Look(AT, bytes, (literal(b"@"),)),
    _Look(V4, bytes, (_pattern(rb"\.(?<=[0-9]\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),)),
    _Look(V6, bytes, (_pattern(rb":(?:(?<=[23fF][0-9a-fA-F]{3}:)[0-9a-fA-F:]|:[fF]{4}:)"),)),
    _Look(
        WORD,
        bytes.lower,
        (
            _pattern(rb"pass(?:wor[dt]|wd|phrase)" + _SIGN),
            *(_pattern(stem + _SIGN) for stem in (b"pwd", b"secret", b"token", b"key")),
            literal(b"bearer"),
        ),
    ),
    _Look(PEM, bytes, (literal(b"PRIVATE KEY"),)),
)
