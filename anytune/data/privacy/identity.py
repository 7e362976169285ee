"""Find persons' national numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anytune.data.privacy import digit
from anytune.data.privacy.number import APART_AFTER, APART_BEFORE, GAPS, HYPHENS, LETTERS, SPACES, compact, is_named
from anytune.data.privacy.report import Finding

KIND = "national-id"
_GAP = f"[{GAPS}]?"
_BEFORE = rf"{APART_BEFORE}(?<![0-9][.,/\-])"
_AFTER = rf"{APART_AFTER}(?![.,/\-][0-9])"
_WORDS = f"(?<![<{LETTERS}])(?:{{}})(?![{LETTERS}])"

_CHECKED = (
    (
        re.compile(
            rf"{_BEFORE}[1-478](?:{_GAP})[0-9]{{2}}{_GAP}(?:0[1-9]|1[0-2]|[2-9][0-9]){_GAP}(?:2[ABab]|[0-9]{{2}})"
            rf"{_GAP}[0-9]{{3}}{_GAP}[0-9]{{3}}{_GAP}[0-9]{{2}}{_AFTER}"
        ),
        digit.nir,
    ),
    (
        re.compile(rf"{_BEFORE}(?:[0-9]{{8}}|[0-9]{{2}}\.[0-9]{{3}}\.[0-9]{{3}})[{GAPS}]?[A-HJ-NP-TV-Z]{_AFTER}"),
        digit.dni,
    ),
    (re.compile(rf"{_BEFORE}[XYZ][{GAPS}]?[0-9]{{7}}[{GAPS}]?[A-HJ-NP-TV-Z]{_AFTER}"), digit.dni),
    (re.compile(rf"{_BEFORE}[0-9]{{2}}([{SPACES}]?)[0-9]{{3}}\1[0-9]{{3}}\1[0-9]{{3}}{_AFTER}"), digit.steuer_id),
    (re.compile(rf"{_BEFORE}[0-9]{{3}}(\.?)[0-9]{{3}}\1[0-9]{{3}}[{HYPHENS}]?[0-9]{{2}}{_AFTER}"), digit.cpf),
    (re.compile(rf"{_BEFORE}[0-9]{{4}}\.[0-9]{{2}}\.[0-9]{{3}}{_AFTER}"), digit.bsn),
)
_BSN = re.compile(rf"{_BEFORE}[0-9]{{9}}{_AFTER}")
_BSN_WORDS = re.compile(_WORDS.format("bsn|burgerservicenummer|sofi-?nummer|citizen service number"), re.IGNORECASE)

_SSN = re.compile(rf"{_BEFORE}(?!000|666|9)[0-9]{{3}}([{GAPS}]?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{_AFTER}")
_SSN_WORDS = re.compile(_WORDS.format(r"ssns?|social[ -]security|social insurance"), re.IGNORECASE)

_NINO = re.compile(
    rf"{_BEFORE}(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    rf"([{GAPS}]?)[0-9]{{2}}\1[0-9]{{2}}\1[0-9]{{2}}\1[A-D]{_AFTER}",
    re.IGNORECASE,
)
_NINO_WORDS = re.compile(_WORDS.format(r"ninos?|national insurance|ni (?:number|no)"), re.IGNORECASE)

_CODICE = re.compile(
    rf"{_BEFORE}[A-Za-z]{{6}}[0-9]{{2}}[A-EHLMPRSTa-ehlmprst][0-9]{{2}}[A-Za-z][0-9]{{3}}[A-Za-z]{_AFTER}"
)


def numbers(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the national numbers: by their check digit, else by their punctuation or a word that names them."""
    for pattern, is_right in _CHECKED:
        for found in pattern.finditer(text, start, end):
            if is_right(compact(found[0])):
                yield Finding(KIND, *found.span())
    for found in _BSN.finditer(text, start, end):
        if is_named(text, found.start(), _BSN_WORDS) and digit.bsn(found[0]):
            yield Finding(KIND, *found.span())
    for found in _SSN.finditer(text, start, end):
        if _is_hyphen(found[1]) or is_named(text, found.start(), _SSN_WORDS):
            yield Finding(KIND, *found.span())
    for found in _NINO.finditer(text, start, end):
        if (found[1] and found[0][:2].isupper()) or is_named(text, found.start(), _NINO_WORDS):
            yield Finding(KIND, *found.span())


def codes(text: str) -> Iterator[Finding]:
    """Yield the Italian codes, which hold no long run of digits."""
    for found in _CODICE.finditer(text):
        if digit.codice_fiscale(found[0].upper()):
            yield Finding(KIND, *found.span())


def _is_hyphen(gap: str) -> bool:
    return bool(gap) and gap not in SPACES
