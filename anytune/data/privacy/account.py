"""Find the numbers of payment cards and bank accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anytune.data.privacy import digit
from anytune.data.privacy.number import APART_AFTER, APART_BEFORE, GAPS, LETTERS, SPACES, compact, is_named
from anytune.data.privacy.report import Finding

_BEFORE = rf"{APART_BEFORE}(?<![0-9][.,\-])"
_AFTER = rf"{APART_AFTER}(?![.,\-][0-9])"
_GAP = f"([{GAPS}]?)"
_CARDS = tuple(
    re.compile(f"{_BEFORE}{body}{_AFTER}")
    for body in (
        rf"[2-9][0-9]{{3}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{3}}",
        rf"[2-9][0-9]{{3}}{_GAP}[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}",
        rf"3[0-9]{{3}}{_GAP}[0-9]{{6}}\1[0-9]{{4,5}}",
        r"[3-6][0-9]{12,18}",
    )
)
# Brands by their first digits and lengths; of Maestro only those ranges that are no longer a lottery.
_BRANDS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720|220[0-4])[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|3(?:0[0-59]|[689][0-9])[0-9]{11}(?:[0-9]{2})?"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|35(?:2[89]|[3-8][0-9]))[0-9]{12}(?:[0-9]{3})?"
    r"|(?:60|81|82)[0-9]{14}|9792[0-9]{12}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15}"
)
_CARD_WORDS = re.compile(
    rf"(?<![<{LETTERS}])(?:cards?|visa|mastercard|amex|american express|maestro|credit|debit|pan"
    rf"|carte|tarjeta|karte|cart[aã]o)(?![{LETTERS}])|karte",
    re.IGNORECASE,
)
_LOTTERY = 13  # an old Visa's length is that of an article's number
_TABLE = re.compile(f"[{SPACES}][0-9]{{4}}(?![0-9])")
_TABLE_BEFORE = re.compile(rf"(?<![0-9])[0-9]{{4}}[{SPACES}]\Z")

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[^\w]?[A-Za-z0-9])")
_PLACE = re.compile(f"[{GAPS}]?[A-Za-z0-9]")
_SIX_DIGITS = re.compile(r"[0-9]{6}")
# ISO 13616 registry: the length by country.
_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def cards(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the card numbers: grouped as brands print them or in one piece, and right by Luhn."""
    for pattern in _CARDS:
        for found in pattern.finditer(text, start, end):
            number = compact(found[0])
            if _BRANDS.fullmatch(number) and digit.luhn(number) and _is_likely(text, found, len(number)):
                yield Finding("card", *found.span())


def _is_likely(text: str, found: re.Match[str], length: int) -> bool:
    spaced = any(space in found[0] for space in SPACES)
    doubtful = length == _LOTTERY or (
        spaced
        and (_TABLE.match(text, found.end()) or _TABLE_BEFORE.search(text, max(0, found.start() - 6), found.start()))
    )
    return not doubtful or is_named(text, found.start(), _CARD_WORDS)


def ibans(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the account numbers of the registry's countries that have their length and pass mod 97."""
    for head in _IBAN.finditer(text, start, end):
        length = _LENGTHS.get(head[0][:2].upper())
        if length and (stop := _end_of(text, head.start(), length)):
            iban = compact(text[head.start() : stop])
            if _SIX_DIGITS.search(iban) and digit.mod97(iban):
                yield Finding("iban", head.start(), stop)


def _end_of(text: str, start: int, length: int) -> int | None:
    """Return where so many letters and digits end that single gaps may part; None where others follow or too few."""
    at = start
    for _ in range(length):
        place = _PLACE.match(text, at)
        if not place:
            return None
        at = place.end()
    following = text[at : at + 1]
    return None if following.isascii() and following.isalnum() else at
