"""Tell from its first bytes what a file is."""

from __future__ import annotations

import codecs
import re

import msgspec

HEAD = 1 << 16
_BINARY = 1024
_RETURNS = re.compile(rb"\}[ \t]*\r+\s*\{")
BOM = codecs.BOM_UTF8
ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"(\xb5/\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}


def kind(head: bytes) -> str:
    """Name what a file is by its first HEAD bytes, which may end anywhere.

    One of `parquet`, the ARCHIVES' names, `utf-16` (or UTF-32), `not-text`, `csv`, `carriage-return-ends`,
    `json-array`, `pretty-printed` and `lines`, which is all the rest.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, name in ARCHIVES.items():
        if head.startswith(magic):
            return name
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) or _every_other_is_nul(head):
        return "utf-16"
    text = head.removeprefix(BOM).lstrip()
    if b"\0" in head[:_BINARY] and not text.startswith(b"{"):
        return "not-text"
    if _is_table(text):
        return "csv"
    if b"\n" not in text and _RETURNS.search(text):
        return "carriage-return-ends"
    return _layout(text)


def _is_table(text: bytes) -> bool:
    """Tell whether the first two lines are the header and a row of a table."""
    first, _, rest = text.partition(b"\n")
    second = rest.partition(b"\n")[0]
    if not first or first[:1] in b"{[" or b"{" in first or not second:
        return False
    return any(first.count(mark) and second.count(mark) for mark in (b",", b"\t", b";"))


def _layout(text: bytes) -> str:
    first, _, rest = (part.strip() for part in text.partition(b"\n"))
    if first.startswith(b"["):
        # A line that is a whole list is one wrong record among others, unless it is all there is.
        return "lines" if _is_json(first) and (rest or b"{" not in first) else "json-array"
    if first.startswith(b"{") and first.endswith((b"{", b"[", b":")) and rest:
        second = rest.partition(b"\n")[0]
        return "lines" if _is_json(second) and second.startswith(b"{") else "pretty-printed"
    return "lines"


def _every_other_is_nul(head: bytes) -> bool:
    head = head[:64]
    return len(head) >= 4 and any(head[::2]) != any(head[1::2])


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
