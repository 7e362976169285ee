"""Tell whether a mending lost words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from anytune.data.fix.mender import Record

_WORD = re.compile(r"\w+")


def lost(read: bytes, record: Record) -> bool:
    """Tell whether texts of more than one word in a line have words that are nowhere in the mended record."""
    try:
        before = json.loads(read)
    except (ValueError, RecursionError):
        return True
    said = {word for text in _texts(before) if len(words := _WORD.findall(text)) > 1 for word in words}
    return not said <= {word for text in _texts(record) for word in _WORD.findall(text)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
