"""Find private keys, API keys, tokens, and passwords that are written down."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

from anytune.data.privacy.number import APART_BEFORE
from anytune.data.privacy.report import Finding

SHORTEST_KEY = 20  # characters: no key of the table is shorter
_LONG_RUN = re.compile(rf"[A-Za-z0-9_\-]{{{SHORTEST_KEY},}}")
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----)[\s\S]){0,20000}-----END [A-Z0-9 ]{0,40}-----"
    r"|(?:(?:\s*[A-Za-z0-9+/=]{32,})+(?:\s+[A-Za-z0-9+/=]{4,31}(?!\S))?)?)"
)
_JWT = re.compile(rf"{APART_BEFORE}(?<!-)(eyJ[\w\-]{{8,}})\.[\w\-]{{4,}}\.[\w\-]{{4,}}", re.ASCII)
_SENDGRID = re.compile(rf"{APART_BEFORE}SG\.[\w\-]{{16,32}}\.[\w\-]{{20,80}}", re.ASCII)

# Each maker's prefix and what follows it, as far as the makers or their keys tell: those that nothing else looks like,
# and those that a name of several words may look like.
_SURE = (
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    r"AIza[\w\-]{35}",
    r"GOCSPX-[\w\-]{20,}",
    r"gh[opsur]_[A-Za-z0-9]{30,255}",
    r"github_pat_[A-Za-z0-9]{22}\w{0,233}",
    r"gl(?:pat|dt|rt|ptt)-[\w\-]{20,}",
    r"xox[abeoprs]-[\w\-]{16,}",
    r"xapp-[0-9]-[\w\-]{18,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"tgp_v[0-9]_[\w\-]{20,}",
    r"[sr]k_live_[A-Za-z0-9]{16,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[\w\-]{27,}",
    r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    r"gsk_[A-Za-z0-9]{40,}",
    r"r8_[A-Za-z0-9]{30,}",
    r"xai-[A-Za-z0-9]{40,}",
    r"pplx-[A-Za-z0-9]{40,}",
    r"do[opr]_v1_[0-9a-f]{64}",
    r"dapi[0-9a-f]{32}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}",
    r"ATATT3[\w\-]{50,}",
    r"lin_api_[A-Za-z0-9]{40}",
    r"pcsk_[A-Za-z0-9]{4,8}_[A-Za-z0-9]{40,}",
    r"ntn_[A-Za-z0-9]{40,}",
    r"nvapi-[\w\-]{50,}",
    r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",
    r"dckr_[op]at_[\w\-]{27,}",
    r"figd_[\w\-]{36,}",
    r"NRAK-[A-Z0-9]{27}",
    r"LTAI[A-Za-z0-9]{20}(?![A-Za-z0-9])",
    r"sbp_[0-9a-f]{40}",
)
_DOUBTFUL = (
    r"github_pat_\w{22,255}",
    r"xapp-[\w\-]{20,}",
    r"tgp_[\w\-]{20,}",
    r"pypi-[\w\-]{30,}",
    r"fw_[A-Za-z0-9]{20,}",
    r"sk-[\w\-]{20,}",
)
_KEY = re.compile(rf"(?<![A-Za-z0-9])(?:(?P<sure>{'|'.join(_SURE)})|{'|'.join(_DOUBTFUL)})", re.ASCII)
_MOST_UNDERSCORES = 3
# What documentation writes in a key's place.
_FILLER = re.compile(r"(.)\1{7}|(?i:your[_\-]|[_\-]here|placeholder)")
_PARTS = re.compile(r"[_\-]")
_FEWEST_DIGITS = 2
_LONGEST_WORD = 10
_LEAST_BITS = 3.0  # of entropy a character, over the key without its prefix

_LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://([^\s/?#@:\"'<>]{0,64}:[^\s/?#@\"'<>]{1,128})@(?=[\w\[])")
_NOT_A_LOGIN = re.compile(
    r"(?:user(?:name)?|login|name|\w*):(?:pass(?:word|wd)?|pwd|secret|token|[*x.]+)|.*[{}$%\[\]].*", re.IGNORECASE
)

_WORDS = (
    r"passwor[dt]|passwd|passphrase|pwd|secret|token|api[ _\-]?key"
    r"|(?:access|account|auth|secret|private|encryption|signing|subscription|shared|storage)[_\-]?key"
)
_STEMS = ("pass", "pwd", "secret", "token", "key", "bearer")  # one of them is in whatever the two patterns find
_ASSIGNED = re.compile(
    rf"(?:{_WORDS})[\"'`]?\s{{0,3}}(?:(?P<sign>:=|=>|[:=])\s{{0,3}}|\sis:?\s)(?P<quote>[\"'`]?)"
    r"(?P<value>[^\s\"'`,;<>{}()\[\]\\]{8,200})(?P<after>[\"'`(\[{<]?)"
)  # in lower case: to ignore the case takes six times as long
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_BEARER = re.compile(rf"{APART_BEFORE}[Bb]earer\s{{1,3}}(?P<value>[\w.~+/\-]{{20,400}}=*)", re.ASCII)
_NOT_SECRET = re.compile(
    r"[$%/~*#.\-].*|https?:.*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[0-9.,:/\-TZ]+"
    r"|[a-z]+(?:[_\-][a-z0-9]+)+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
    r"|(?i:.*(?:example|placeholder|change.?me|redacted|dummy|x{4}|\.{3}|\*{3}|your[_\-]|[_\-]here).*)",
    re.ASCII,
)
_CLASSES = tuple(re.compile(pattern) for pattern in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]"))
_LONG = 20


def private_keys(text: str) -> Iterator[Finding]:
    """Yield the private keys in PEM, head to tail; a key whose tail is missing to the end of its letters."""
    for found in _PEM.finditer(text):
        yield Finding("private-key", found.start(), found.start() + len(found[0].rstrip()))


def tokens(text: str) -> Iterator[Finding]:
    """Yield the JSON web tokens and the keys that are known by their prefix."""
    if "eyJ" in text:
        for found in _JWT.finditer(text):
            if _is_header(found[1]):
                yield Finding("jwt", *_inside(text, *found.span()))
    if "SG." in text:
        yield from (Finding("key", *_inside(text, *found.span())) for found in _SENDGRID.finditer(text))
    for run in _LONG_RUN.finditer(text):
        for found in _KEY.finditer(text, run.start(), run.end()):
            if not _FILLER.search(found[0]) if found["sure"] else _is_random(found[0]):
                yield Finding("key", *_inside(text, *found.span()))


def logins(text: str) -> Iterator[Finding]:
    """Yield the `user:password` of URLs."""
    for found in _LOGIN.finditer(text) if "://" in text else ():
        if not _NOT_A_LOGIN.fullmatch(found[1]):
            yield Finding("key", *found.span(1))


def assignments(text: str) -> Iterator[Finding]:
    """Yield what is assigned to a password, key or token, if it looks like one."""
    lower = text.lower()
    if not any(stem in lower for stem in _STEMS):
        return
    if len(lower) != len(text):
        lower = text.translate(_LOWER)  # some letters become two
    for found in _ASSIGNED.finditer(lower):
        sign, (start, end) = found["sign"], found.span("value")
        closed = bool(found["quote"]) and found["after"] == found["quote"]
        value = text[start:end] if closed else text[start:end].rstrip(".:!?")
        if (closed or not found["after"] or found["after"] in "\"'`") and _is_secret(value, closed and bool(sign)):
            yield Finding("key", start, start + len(value))
    for found in _BEARER.finditer(text):
        if _is_secret(found["value"].rstrip("."), False):
            yield Finding("key", found.start("value"), found.start("value") + len(found["value"].rstrip(".")))


def _inside(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without the underscores that Markdown sets behind a value, as many as before it."""
    opening, value = text[max(0, start - _MOST_UNDERSCORES) : start], text[start:end]
    return start, end - min(len(part) - len(part.rstrip("_")) for part in (opening, value))


def _is_header(part: str) -> bool:
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def _is_random(key: str) -> bool:
    """Tell a key from a slug such as `sk-learn-in-10-minutes`."""
    few = sum(c.isdigit() for c in key) < _FEWEST_DIGITS or max(map(len, _PARTS.split(key))) < _LONGEST_WORD
    return not few and _bits(key[4:]) >= _LEAST_BITS


def _is_secret(value: str, quoted: bool) -> bool:
    if len(value) < 8 or _NOT_SECRET.fullmatch(value) or _bits(value) < _LEAST_BITS - 0.3:
        return False
    classes = [bool(of.search(value)) for of in _CLASSES]
    if not classes[2] or not (classes[0] or classes[1]):
        return False
    return quoted or sum(classes) >= 3 or len(value) >= _LONG


def _bits(text: str) -> float:
    """Return the Shannon entropy of a text in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0
