"""Tell quickly what a line of bytes may hold; it errs on one side only: what is there is never ruled out.

Both engines look at the raw line. A line in which an escape could hide a character that matters is looked at without
its escapes; all other escapes part only what is parted in the text, too.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from anytune.data.privacy.escape import layers
from anytune.data.privacy.number import FEWEST_DIGITS
from anytune.data.privacy.secret import SHORTEST_KEY
from anytune.data.privacy.text import AT, CODICE, NUMBER, PEM, RUN, V4, V6, WORD, families
from anytune.errors import MissingExtraError, UsageError

ENGINES = ("auto", "core", "re2")

Screen = Callable[[bytes], int]

# ASCII, and the spaces and hyphens that group digits, written as an escape.
_HIDING = re.compile(rb"\\u(?:00(?:[0-7]|[aA]0)|20(?:0[79]|1[0-3]|2[fF]))")
_HIGH = bytes(range(128, 256))
_GAPS = b" -.()/+\\" + _HIGH


def _table(*classes: tuple[bytes, bytes], other: bytes | None = b" ") -> bytes:
    table = bytearray(other * 256 if other else bytes(range(256)))
    for members, stand_in in classes:
        for member in members:
            table[member] = stand_in[0]
    return bytes(table)


_DIGIT = b"0123456789"
_LETTER = bytes(c for c in range(128) if chr(c).isalpha())
_DIGITS = _table((_DIGIT, b"0"))
_SHAPE = _table((_DIGIT, b"0"), (_LETTER, b"A"), other=None)
_TOKEN = _table((_DIGIT + _LETTER + b"_-", b"a"))
_SIX = b"0" * FEWEST_DIGITS
_LONG = b"a" * SHORTEST_KEY
_CODE = b"AAAAAA00A00A000A"
_FOUR = re.compile(rb"0\.0{1,3}\.0{1,3}\.0")
_GROUPS = re.compile(rb"[23fF][0-9a-fA-F]{3}:[0-9a-fA-F:]|::[fF]{4}:")
_HEX = b"0123456789abcdefABCDEF"
_COLONS = b":" * 7
_STEMS = (b"passwort", b"password", b"passwd", b"passphrase", b"pwd", b"secret", b"token", b"key")
_SIGN = rb"[\"'`\\]*+(?:\\[nrtbf]|\s)*+(?:[:=]|is)"
# A pattern that begins with plain letters is found faster than one that begins with a choice.
_ASSIGNED = tuple((stem, re.compile(stem + _SIGN)) for stem in _STEMS)


# How each shape of a key in `secret` begins, and no more of it than any has.
_KEY = (
    r"(?:A[KS]IA|AIza|GOCSPX-|gh[opsur]_|github_pat_|gl[a-z]{1,3}t-|xox[a-z]-|xapp-|hf_|tgp_|[sr]k_live_|npm_|pypi-|SK"
    r"|gsk_|r8_|xai-|pplx-|fw_|dop_v1_|dapi|shp[a-z]{2}_|sk-|eyJ|SG\.)[A-Za-z0-9_\-]{8}"
)
_KEYS = re.compile(_KEY.encode())


def make(engine: str, kinds: frozenset[str]) -> tuple[str, Screen]:
    """Return the engine's name (`auto` is re2 where it is installed) and its screen for these kinds."""
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", fix=f"there are: {', '.join(ENGINES)}")
    wanted = families(kinds)
    if engine != "core":
        try:
            return "re2", _unhidden(_with_re2(wanted))
        except ImportError:
            if engine == "re2":
                raise MissingExtraError(needs="google-re2", extra="scan") from None
    return "core", _unhidden(_core(wanted))


def _unhidden(screen: Screen) -> Screen:
    def look(line: bytes) -> int:
        if b"\\u" in line and _HIDING.search(line):
            text = layers(line.decode(errors="surrogateescape"))[-1]
            return screen(text.encode(errors="replace"))
        return screen(line)

    return look


def _core(wanted: int) -> Screen:
    numbers, runs = NUMBER & wanted, RUN & wanted
    words, pem = WORD & wanted, PEM & wanted
    at, shapes, v6 = AT & wanted, wanted & (CODICE | V4), V6 & wanted

    def look(line: bytes) -> int:
        found = 0
        if at and b"@" in line:
            found = AT
        if numbers and _SIX in line.translate(_DIGITS, _GAPS):
            found |= NUMBER
        if runs and _LONG in line.translate(_TOKEN) and _KEYS.search(line):
            found |= RUN
        if shapes:
            found |= _shaped(line.translate(_SHAPE))
        if words and _is_assigned(line):
            found |= WORD
        if v6 and (b"::" in line or _COLONS in line.translate(None, _HEX)) and _GROUPS.search(line):
            found |= V6
        if pem and b"PRIVATE KEY" in line:
            found |= PEM
        return found & wanted

    return look


def _shaped(shape: bytes) -> int:
    found = CODICE if _CODE in shape else 0
    return found | V4 if b"0.0" in shape and _FOUR.search(shape) else found


def _is_assigned(line: bytes) -> bool:
    line = line.lower()
    for stem, pattern in _ASSIGNED:
        if stem in line and pattern.search(line):
            return True
    return b"bearer" in line


def _with_re2(wanted: int) -> Screen:
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    screen = re2.Set.SearchSet(options)
    order = [family for family, _ in _PATTERNS if family & (wanted | _PARTLY)]
    for family, pattern in _PATTERNS:
        if family & (wanted | _PARTLY):
            screen.Add(pattern)
    screen.Compile()
    match = screen.Match

    def look(line: bytes) -> int:
        found = 0
        for index in match(line) or ():
            found |= order[index]
        if found & _PARTLY and any(found & both == both for both in _TOGETHER):
            found |= NUMBER
        return found & wanted

    return look


_GAP = r"[ \-.()/+\\\x80-\xff]*"
_ONE = r"[ .\-\x80-\xff]{0,3}"
# What two patterns tell only together: seven digits and a word that makes them a telephone's, six and an IBAN's head.
_SEVEN, _NAMING, _SIX_HERE, _HEAD = (1 << bit for bit in range(8, 12))
_TOGETHER = (_SEVEN | _NAMING, _SIX_HERE | _HEAD)
_PARTLY = _SEVEN | _NAMING | _SIX_HERE | _HEAD
_PATTERNS = (
    (AT, r"@"),
    (NUMBER, rf"[0-9](?:{_GAP}[0-9]){{8}}"),
    (NUMBER, rf"\+{_GAP}[0-9](?:{_GAP}[0-9]){{6}}"),
    (NUMBER, rf"[0-9]{{2}}\.?[0-9]{{3}}\.?[0-9]{{3}}{_ONE}[A-Z]"),  # DNI
    (NUMBER, rf"[XYZ]{_ONE}[0-9]{{7}}{_ONE}[A-Z]"),  # NIE
    (NUMBER, rf"[A-Za-z]{{2}}(?:{_ONE}[0-9]{{2}}){{3}}{_ONE}[A-Da-d]"),  # NINO
    (_HEAD, rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_ONE}[A-Za-z0-9]){{11}}"),
    (_SIX_HERE, rf"[0-9](?:{_GAP}[0-9]){{5}}"),
    (_SEVEN, rf"[0-9](?:{_GAP}[0-9]){{6}}"),
    (
        _NAMING,
        r"(?i)phone|tel(?:[^a-z]|ef|em)|mobil|vil[^a-z]|cell?[^a-z]|cell?u|fax|whats|sms|hotline|dial[^a-z]|handy|rufnummer"
        r"|portable|text me|(?:call|ring|reach|contact) (?:me|us|him|her|them|at|on)|(?:my|his|her|their|our) number",
    ),
    (CODICE, r"[A-Za-z]{6}[0-9]{2}[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]"),
    (V4, r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"),
    (V6, r"[23fF][0-9a-fA-F]{3}:[0-9a-fA-F:]|::[fF]{4}:"),
    (RUN, _KEY),
    (
        WORD,
        r"(?i)(?:passwor[dt]|passwd|passphrase|pwd|secret|token|key)[\"'`\\]*(?:\\[nrtbf]|\s)*(?:[:=]|is)|bearer",
    ),
    (PEM, r"PRIVATE KEY"),
)
