"""What a mender is: one way to mend one code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from anytune.schema.data import Level

Record = dict[str, Any]
Path = tuple[str | int, ...]


class Mender(NamedTuple):
    """Mend faults of one code in a record.

    `mend` gets the record and the path of one fault and changes the record in place; it returns None if it can do
    nothing there, else the word that it was about, which may be empty. `asks` tells that it changes meaning;
    `least` is the level from which it is used; it is never used where somebody minds what it makes, the code `unless`.
    """

    code: str
    what: str
    mend: Callable[[Record, Path], str | None]
    asks: bool = False
    least: Level = "warning"
    unless: str = ""


class LineMender(NamedTuple):
    """Mend one code in the text of a line: `mend` returns the new line, None if it can do nothing."""

    code: str
    what: str
    mend: Callable[[bytes], bytes | None]
    asks: bool = False
    least: Level = "warning"
