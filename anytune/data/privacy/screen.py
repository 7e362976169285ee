"""Tell quickly what lines of bytes may hold; it errs on one side only: what is there is never ruled out.

Both engines look at the raw lines, many of them in one go. A line in which an escape could hide a character that
matters is looked at without its escapes; all other escapes part only what is parted in the text, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import reduce
from operator import or_
from typing import NamedTuple

from anytune.data.privacy import automaton, core
from anytune.data.privacy.escape import layers
from anytune.data.privacy.text import families
from anytune.data.privacy.walk import each_line, first
from anytune.errors import MissingExtraError, UsageError

ENGINES = ("auto", "core", "re2")

Look = Callable[[bytes], Iterator[tuple[int, int]]]

# ASCII, and the spaces and hyphens that group digits, written as an escape.
_HIDING = re.compile(rb"\\u(?:00(?:[0-7]|[aA]0)|20(?:0[79]|1[0-3]|2[fF]))")
_hiding = first(_HIDING)


class Screen(NamedTuple):
    """Look at lines by an engine, which yields where lines start that may hold something, and its families."""

    engine: str
    look: Look

    def line(self, line: bytes) -> int:
        """Return the families that one line may hold."""
        return reduce(or_, self._found(_shown(line)).values(), 0)

    def lines(self, text: bytes) -> dict[int, int]:
        """Return by where they start what lines may hold; most hold nothing, and most of those are left out."""
        found = self._found(text)
        shown, starts, at = list[bytes](), dict[int, int](), 0
        for start, end in each_line(text, _hiding):
            shown.append(_shown(text[start:end]))
            starts[at] = start
            found.pop(start, None)
            at += len(shown[-1]) + 1
        return found | {starts[at]: families for at, families in self._found(b"\n".join(shown)).items()}

    def _found(self, text: bytes) -> dict[int, int]:
        found: dict[int, int] = {}
        for start, family in self.look(text):
            found[start] = found.get(start, 0) | family
        return found


def _shown(line: bytes) -> bytes:
    """Return a line without its escapes if they hide something, and still as one line."""
    if b"\\u" not in line or not _HIDING.search(line):
        return line
    return layers(line.decode(errors="surrogateescape"))[-1].encode(errors="replace").replace(b"\n", b" ")


def make(engine: str, kinds: frozenset[str]) -> Screen:
    """Return the screen of an engine (`auto` is re2 where it is installed) for these kinds."""
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}", fix=f"there are: {', '.join(ENGINES)}")
    wanted = families(kinds)
    if engine != "core":
        try:
            return Screen("re2", automaton.make(wanted))
        except ImportError:
            if engine == "re2":
                raise MissingExtraError(needs="google-re2", extra="scan") from None
    return Screen("core", core.make(wanted))
