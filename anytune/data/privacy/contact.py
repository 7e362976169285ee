"""Find e-mail addresses and telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anytune.data.privacy.number import APART_AFTER, APART_BEFORE, GAPS, HYPHENS, LETTERS, SPACES, compact, is_named
from anytune.data.privacy.report import Finding

_LONGEST_LOCAL = 64  # RFC 5321
_LONGEST_LOGIN = 70
# Read backwards from the @: a search for what ends there would begin at each character before.
_LOCALS = tuple(re.compile(rf"[{of}%+\-][{of}.%+\-]*") for of in (LETTERS, r"\w"))
_DOMAIN = re.compile(
    r"@(?<=[\w%+\-]@)((?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.)+"
    r"(?:(?:xn--[A-Za-z0-9\-]{2,59}|[A-Za-z]{2,24})(?![A-Za-z0-9\u00c0-\u024f\-]|_+[A-Za-z0-9])"
    r"|[A-Za-z]{0,23}(?![\x00-\x7f])[^\W\d_][^\W\d_]{0,22}))"
)
_FILES = re.compile(r"(?:png|jpe?g|gif|svg|webp|avif|ico|bmp|css|m?js|tsx?|jsx|json|map|html|woff|ttf|mp4|pdf)$", re.I)
_LOGIN = re.compile(r"://[^\s/@]{0,64}:\Z")  # what follows is a password, which `secret.logins` judges
_REMOTE = "git"  # git@host:owner/name is how a repository is named

_WORDS = re.compile(
    rf"(?<![<{LETTERS}])(?:(?:tele)?phones?|tel|mobile|cell(?:phone)?|fax|whats ?app|sms|hotline|dial"
    r"|text me|(?:call|ring|reach|contact) (?:me|us|him|her|them|at|on)"
    r"|(?:phone|my|his|her|their|our) number|telefon[a-z]*|handy[a-z]*|mobil[a-zé]*|rufnummer|t[ée]l[ée]phone|portable"
    rf"|tel[ée]fono|m[óo]vil|celular|cellulare|telefone|telem[óo]vel|telefoon[a-z]*)(?![{LETTERS}])",
    re.IGNORECASE,
)
_BEFORE = rf"{APART_BEFORE}(?<![+$€£#])(?<![0-9][.,/\-])(?<![A-Za-z]-)"
_AFTER = rf"{APART_AFTER}(?![.,/\-:][0-9])"
_GAP = f"[{GAPS}.]"
_ABROAD = re.compile(
    rf"{APART_BEFORE}(?<![+\-])(?<![0-9][{GAPS}])(?:\+|00)[1-9](?:[{GAPS}./()]{{0,2}}[0-9]){{6,14}}"
    rf"{APART_AFTER}(?![.,][0-9])"
)
_AMERICAN = re.compile(
    rf"{_BEFORE}(?:1{_GAP})?(?:\([2-9][0-9]{{2}}\)[{SPACES}]?|[2-9][0-9]{{2}}{_GAP})"
    rf"[2-9][0-9]{{2}}{_GAP}[0-9]{{4}}{_AFTER}"
)
_PUNCTUATION = re.compile(f"[(.{HYPHENS}]")
_SHAPED = re.compile(
    rf"{_BEFORE}(?:0[1-9](?:([{SPACES}.\-])[0-9]{{2}})(?:\1[0-9]{{2}}){{3}}"  # FR
    rf"|\(?0(?:2[0-9]\)?[{SPACES}][0-9]{{4}}[{SPACES}][0-9]{{4}}|1[0-9]{{2,3}}\)?[{SPACES}][0-9]{{3}}[{SPACES}][0-9]{{3,4}}"
    rf"|7[0-9]{{3}}[{SPACES}][0-9]{{3}}[{SPACES}]?[0-9]{{3}}|1[0-9]{{3}}\)?[{SPACES}][0-9]{{6}})"  # GB
    rf"|01[567][0-9]{{1,2}}[{SPACES}/\-][0-9]{{7,8}}"  # DE, mobile
    # JP, KR
    r"|0[1-9]-[0-9]{4}-[0-9]{4}|0[1-9][0-9]-[0-9]{3,4}-[0-9]{4}|0[1-9][0-9]{2}-[0-9]{2,3}-[0-9]{4}|02-[0-9]{3}-[0-9]{4}"
    rf"|\([1-9][0-9]\)[{SPACES}]?9?[0-9]{{4}}-[0-9]{{4}}){_AFTER}"  # BR
)
_PLAIN = re.compile(rf"{_BEFORE}\(?[0-9](?:[{GAPS}./()]{{0,2}}[0-9]){{6,12}}{_AFTER}")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[.\-/][01]?[0-9][.\-/][0-3]?[0-9](?![0-9])"
    r"|[0-3]?[0-9][.\-/][01]?[0-9][.\-/](?:19|20)[0-9]{2}(?![0-9])"
)
_ITALY = "39"  # where a number keeps its 0 from abroad
# ITU-T E.164: assigned country codes.
_COUNTRIES = re.compile(
    r"1|7|2(?:0|7|1[12368]|[2-6][0-9]|9[01789])|3(?:[0-469]|5[0-9]|7[0-8]|8[0-79])|4(?:[013-9]|2[013])"
    r"|5(?:[1-8]|0[0-9]|9[0-9])|6(?:[0-6]|7[0-9]|8[0-9]|9[0-2])|8(?:[1246]|0[08]|5[02-6]|7[08]|8[0-36-8])"
    r"|9(?:[0-58]|6[0-8]|7[0-79]|9[2-8])"
)


def emails(text: str) -> Iterator[Finding]:
    """Yield the e-mail addresses: what stands around each @."""
    for found in _DOMAIN.finditer(text):
        at, following = found.start(), text[found.end() : found.end() + 1]
        start = _start_of(text, at, "._" if following == "_" else ".")
        is_login = _LOGIN.search(text, max(0, start - _LONGEST_LOGIN), start)
        if not is_login and _is_address(text[start:at], found[1], following):
            yield Finding("email", start, found.end())


def _start_of(text: str, at: int, around: str) -> int:
    """Return where the part before the @ begins: in Latin letters if it ends in them, without the signs around it."""
    before = text[max(0, at - _LONGEST_LOCAL) : at][::-1]
    local = next(found[0] for of in _LOCALS if (found := of.match(before)))
    return at - len(local.rstrip(around) or local)


def _is_address(local: str, domain: str, following: str) -> bool:
    if _FILES.match(domain.rpartition(".")[2]):
        return False
    return not (local == _REMOTE and following in (":", "/"))


def phones(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield the telephone numbers: with a country's code, in a shape that nothing else has, or beside a word."""
    for found in _ABROAD.finditer(text, start, end):
        if _is_abroad(found[0]) or is_named(text, found.start(), _WORDS):
            yield Finding("phone", *found.span())
    for found in _AMERICAN.finditer(text, start, end):
        if _PUNCTUATION.search(found[0]) or is_named(text, found.start(), _WORDS):
            yield Finding("phone", *found.span())
    for found in _SHAPED.finditer(text, start, end):
        yield Finding("phone", *found.span())
    for found in _PLAIN.finditer(text, start, end):
        if not _DATE.match(found[0]) and is_named(text, found.start(), _WORDS):
            yield Finding("phone", *found.span())


def _is_abroad(written: str) -> bool:
    number = compact(written).removeprefix("00")
    country = _COUNTRIES.match(number)
    if not country or not 8 <= len(number) <= 15 or written.count("/") > 1 or written.count(".") == 1:
        return False
    if country[0] == "1":
        return len(number) == 11 and number[1] in "23456789" and number[4] in "23456789"
    if number[country.end()] == "0" and country[0] != _ITALY and "(0" not in written:
        return False
    return written.startswith("+") or not written.isdigit()
