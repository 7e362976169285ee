"""Tell from the first bytes what a file is if it is not JSON lines."""

from __future__ import annotations

import codecs

import msgspec

from anytune.data.fault import Fault
from anytune.data.quote import Plain

HEAD = 1 << 16
BOM = codecs.BOM_UTF8
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"(\xb5/\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}


def binary(head: bytes) -> Fault | None:
    """Return the fault of a file that is no text in UTF-8 at all."""
    if head.startswith(b"PAR1"):
        return Fault("parquet")
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            return Fault("compressed", value=Plain(name))
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return Fault("utf-16") if wide or _every_other_is_nul(head[:64]) else None


def layout(head: bytes) -> Fault | None:
    """Return the fault of JSON that is not one object a line; the head may end anywhere."""
    text = head.removeprefix(BOM).lstrip()
    first, _, rest = (part.strip() for part in text.partition(b"\n"))
    if first.startswith(b"["):
        # A line that is a whole list is one wrong record among others, unless it is all there is.
        return None if _is_json(first) and (rest or b"{" not in first) else Fault("json-array")
    if first.startswith(b"{") and first.endswith((b"{", b"[", b":")) and rest:
        second = rest.partition(b"\n")[0]
        return None if _is_json(second) and second.startswith(b"{") else Fault("pretty-printed")
    return None


def _every_other_is_nul(head: bytes) -> bool:
    return len(head) >= 4 and any(head[::2]) != any(head[1::2])


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
