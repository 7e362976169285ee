"""The patterns of JSON by which a line is walked through; each is compiled when it is first asked for.

Most files have no line that is walked through, and to compile all patterns would take as long as to read such a file.
"""

from __future__ import annotations

import re

_WHITE = rb"[ \t\r\n]*+"
_TEXT = rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt])*+"'
_PLAIN = rb"(?:" + _TEXT + rb"|-?(?:0|[1-9][0-9]{0,16}+)(?:\.[0-9]{1,16}+)?|true|false|null)"
_VALUE = rb"(?P<value>" + _PLAIN + rb"(?=" + _WHITE + rb"[,}\]]))?"
_KEY = rb'"(?P<key>[^"\\\x00-\x1f]*+)"' + _WHITE + rb":"
_COMMA = _WHITE + rb"(?P<comma>,?)" + _WHITE


def _whole(levels: int) -> bytes:
    """Return a pattern of sound objects and lists that are at most so deep; what is deeper is walked through."""
    inner = rb'"(?:[^"\\]++|\\.)*+"'
    for _ in range(levels):
        inner = rb'(?:[^{}\[\]"]++|' + inner + rb")*+"
        inner = rb'"(?:[^"\\]++|\\.)*+"|[{\[]' + inner + rb"[}\]]"
    return inner


_PATTERNS = {
    "SPACE": _WHITE,
    "STRING": rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+',
    "SCALAR": rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null",
    "MORE_OF_SCALAR": rb"[0-9A-Za-z_.+-]",
    "NOT_FINITE": rb"-?Infinity|NaN",
    "ESCAPE": rb"\\(?:u([0-9a-fA-F]{4})|.)",
    "ODD_ESCAPE": rb"\\u(?:0000|[dD][89a-fA-F])",
    "PYTHON": rb"True|False|None|'|undefined",
    "ELEMENT": _COMMA + _VALUE,
    "MEMBER": _COMMA + _KEY + _WHITE + _VALUE,
    "WHOLE": rb"(?s:" + _whole(4) + rb")",
}


def __getattr__(name: str) -> re.Pattern[bytes]:
    """Compile a pattern and keep it."""
    if name not in _PATTERNS:
        raise AttributeError(f"module 'anytune.data.check.pattern' has no attribute {name!r}")
    made = globals()[name] = re.compile(_PATTERNS[name])
    return made
