"""What was found in the user's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anytune.schema.base import Value

Level = Literal["error", "warning"]
Role = Literal["train", "validation", "test"]


class Issue(Value):
    """Name one fault: where it stands, which providers mind, and how to mend it.

    `line` and `column` count from 1 (column in characters); `path` is a JSON path such as `$.messages[1].weight`.
    A fault of the whole file has line None.
    """

    code: str
    level: Level
    message: str
    line: int | None = None
    column: int | None = None
    path: str | None = None
    fix: str | None = None
    providers: tuple[str, ...] = ()


class DataFile(Value):
    """Be one file as it stood when it was read: `bytes` long, with this SHA-256 and so many examples."""

    role: Role
    path: Path
    sha256: str
    bytes: int
    examples: int


class Tokens(Value):
    """Estimate the tokens of one epoch; `basis` says how they were counted."""

    low: int
    expected: int
    high: int
    longest: int
    basis: str


class FileReport(Value):
    """Report one file: faults (the first of each code) and counts of all by code."""

    path: Path
    examples: int
    errors: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()
    counts: dict[str, int] = {}
    tokens: Tokens | None = None
    file: DataFile | None = None


class DataReport(Value):
    """Report all files of one run."""

    files: tuple[FileReport, ...]

    @property
    def ok(self) -> bool:
        """Tell whether no file has an error."""
        return not any(report.errors for report in self.files)

    def role(self, role: Role) -> FileReport | None:
        """Return the report of the file that plays this role, if there is one."""
        return next((r for r in self.files if r.file is not None and r.file.role == role), None)
