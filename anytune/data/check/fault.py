"""A fault as the rules find it: cheap, without a position, not yet a sentence."""

from __future__ import annotations

from typing import NamedTuple

from anytune.data.path import Path as Path
from anytune.data.path import json_path as json_path

Kind = tuple[str, tuple[str, ...] | None]  # a code, and who minds it where that hangs on the value


class Fault(NamedTuple):
    """Name a code and where in the record it holds.

    `path` leads to a value that exists: a missing key is a fault of the object that lacks it. `at_key` points
    at the key rather than at its value; `offset` (in bytes) is given only where the path does not lead there.
    `among` names the providers that mind it at this value, None all whom the rule names. `where` is the path where it
    is known only as it is written.
    """

    code: str
    path: Path = ()
    value: object = None
    at_key: bool = False
    offset: int | None = None
    among: tuple[str, ...] | None = None
    where: str | None = None

    @property
    def kind(self) -> Kind:
        """Return what all faults have in common that the same providers mind."""
        return self.code, self.among


class Sighting(NamedTuple):
    """Be a fault that will be shown: its line (None: the whole file), byte offset in the file, and column."""

    fault: Fault
    line: int | None = None
    offset: int | None = None
    column: int | None = None
