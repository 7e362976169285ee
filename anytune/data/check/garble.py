"""Find text that was decoded wrongly once: UTF-8 read as Latin-1 or Windows-1252, and characters that were lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from anytune.data.check.fault import Fault, Path
from anytune.data.quote import Plain

_MARKS = "ÂÃ\ufffd"
# The second byte of a letter, seen as a character; quotes and dashes may follow a capital in sound text.
_GARBLED = re.compile("[ÂÃ][\u0080-\u00bfƒˆŠ‹ŒŽ™š›œžŸ‡†‰‚„]|â€[\u0080-\u00bf™œ˜“”¦¢\u009d]|\ufffd")


def is_suspect(text: str) -> bool:
    """Tell whether a text deserves a look: quick, and rarely true of sound text."""
    return not text.isascii() and (any(mark in text for mark in _MARKS) or ("â" in text and "€" in text))


def garbled(record: Any) -> list[Fault]:
    """Return the first fault of garbled text in a record, if there is one."""
    for path, text in _strings(record):
        if is_suspect(text) and (found := _GARBLED.search(text)):
            return [Fault("mojibake", path, _shown(found[0]))]
    return []


def _shown(found: str) -> Plain:
    if found == "\ufffd":
        return Plain("U+FFFD, which stands for a lost character,")
    try:
        return Plain(f'"{found}" (for "{found.encode("cp1252").decode()}")')
    except UnicodeError:
        return Plain(f'"{found}"')


def _strings(value: Any) -> Iterator[tuple[Path, str]]:
    """Yield each string with its path, without recursion."""
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, held = waiting.pop()
        if isinstance(held, str):
            yield path, held
        elif isinstance(held, dict | list):
            items = held.items() if isinstance(held, dict) else enumerate(held)
            waiting += [((*path, step), inner) for step, inner in items][::-1]
