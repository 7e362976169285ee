"""What a mender is: one way to mend one code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from anytune.schema.data import Level

Record = dict[str, Any]
Path = tuple[str | int, ...]
One = Callable[[Record, Path], str | None]


class Together(NamedTuple):
    """Mend all faults of a code in a record together, so that very many do not each take a look at all the others.

    `mend` gets the paths of the faults; it returns for each change the word that it was about.
    """

    mend: Callable[[Record, Sequence[Path]], list[str]]


def once(mend: One, *, per: str = "") -> Together:
    """Mend at one fault all that stand in the same record, or in the same list under the key `per`."""

    def many(record: Record, paths: Sequence[Path]) -> list[str]:
        last = {path[: path.index(per) + 1] if per in path else path[:0]: path for path in paths}
        return one_by_one(mend, record, [*last.values()])

    return Together(many)


def one_by_one(mend: One, record: Record, paths: Sequence[Path]) -> list[str]:
    """Mend faults one after the other, the last first, so that the other paths stay true."""
    return [name for path in reversed(paths) if (name := mend(record, path)) is not None]


class Mender(NamedTuple):
    """Mend faults of one code in a record.

    `mend` gets the record and the path of one fault and changes the record in place; it returns None if it can do
    nothing there, else the word that it was about, which may be empty. `asks` tells that it changes meaning;
    `least` is the level from which it is used; it is never used where somebody minds what it makes, the code `unless`.
    """

    code: str
    what: str
    mend: One | Together
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
