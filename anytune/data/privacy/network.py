"""Find IP addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from anytune.data.privacy.number import APART_AFTER, APART_BEFORE, LETTERS
from anytune.data.privacy.report import Finding

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = re.compile(rf"{APART_BEFORE}(?<!\.)(?:{_OCTET}\.){{3}}{_OCTET}{APART_AFTER}(?!\.[0-9])")
_V6 = re.compile(
    rf"{APART_BEFORE}(?<![:.])(?:::[fF]{{4}}:(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}"
    rf"|[23fF][0-9a-fA-F]{{3}}:[0-9a-fA-F:]{{1,34}})(?!:){APART_AFTER}"
)
_EDITION = re.compile(
    rf"(?:(?<![{LETTERS}])(?:version|ver|v|release|build|firmware|revision|rev|section|sec|chapter|clause|article|paragraph|figure"
    r"|fig|table|step|oid|sdk|kernel|driver)s?\.?|版本?|バージョン|버전|第|§|[<>=~^!]=|\w/)[\s:=(\"']{0,3}\Z",
    re.IGNORECASE,
)
_NEAR = 24
_HEADING = re.compile(r"(?:^|\n)[#\s]*\Z")
_MOST_IN_HEADING = 30


def addresses(text: str) -> Iterator[Finding]:
    """Yield the addresses that stand for a host; masks, loopback and the numbers of versions and sections do not."""
    for found in _V4.finditer(text):
        if _is_host(found[0]) and not _is_edition(text, *found.span()):
            yield Finding("ip", *found.span())
    if ":" not in text:
        return
    for found in _V6.finditer(text):
        written = found[0].rstrip(":") if not found[0].endswith("::") else found[0]
        if _is_v6(written):
            yield Finding("ip", found.start(), found.start() + len(written))


def _is_host(written: str) -> bool:
    address = IPv4Address(written)
    is_mask = written.startswith("255.") and not written.startswith("255.0.0.1")
    return not (address.is_loopback or is_mask or written.startswith("0."))


def _is_edition(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - _NEAR) : start]
    if _EDITION.search(before):
        return True
    small = all(int(part) <= _MOST_IN_HEADING for part in text[start:end].split("."))
    return small and bool(_HEADING.search(before)) and text[end : end + 2].strip(". ") == "" and end + 1 < len(text)


def _is_v6(written: str) -> bool:
    try:
        address = IPv6Address(written)
    except ValueError:
        return False
    return address.ipv4_mapped is None or _is_host(str(address.ipv4_mapped))
