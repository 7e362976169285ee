"""The patterns of JSON by which a line is walked through."""

from __future__ import annotations

import re

_WHITE = rb"[ \t\r\n]*+"
SPACE = re.compile(_WHITE)
STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+')
SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null")
MORE_OF_SCALAR = re.compile(rb"[0-9A-Za-z_.+-]")
NOT_FINITE = re.compile(rb"-?Infinity|NaN")
ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)")
ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
UPSETTING = re.compile(rb"\\u00(?:00|3[aA])")  # NUL, and a colon that would upset a count of them
PYTHON = re.compile(rb"True|False|None|'|undefined")
_TEXT = rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt])*+"'
_PLAIN = rb"(?:" + _TEXT + rb"|-?(?:0|[1-9][0-9]{0,16}+)(?:\.[0-9]{1,16}+)?|true|false|null)"
_VALUE = rb"(?P<value>" + _PLAIN + rb"(?=" + _WHITE + rb"[,}\]]))?"
ELEMENT = re.compile(_WHITE + rb"(?P<comma>,?)" + _WHITE + _VALUE)
_KEY = rb'"(?P<key>[^"\\\x00-\x1f]*+)"' + _WHITE + rb":"
MEMBER = re.compile(_WHITE + rb"(?P<comma>,?)" + _WHITE + _KEY + _WHITE + _VALUE)


def _whole(levels: int) -> re.Pattern[bytes]:
    """Return a pattern of sound objects and lists that are at most so deep; what is deeper is walked through."""
    inner = rb'"(?:[^"\\]++|\\.)*+"'
    for _ in range(levels):
        inner = rb'(?:[^{}\[\]"]++|' + inner + rb")*+"
        inner = rb'"(?:[^"\\]++|\\.)*+"|[{\[]' + inner + rb"[}\]]"
    return re.compile(inner, re.DOTALL)


WHOLE = _whole(4)
