"""What was found in the user's files."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from anytune.schema.base import Value

Level = Literal["error", "warning"]
Role = Literal["train", "validation", "test"]
DataMethod = Literal["sft", "dpo", "rft"]


class Issue(Value):
    """Name one fault: where it stands, which providers mind, and how to mend it.

    `line` and `column` count from 1 (column in characters), `offset` counts bytes from the file's start; `path` is a
    JSON path such as `$.messages[1].weight`. A fault of the whole file has line None.
    """

    code: str
    level: Level
    message: str
    line: int | None = None
    column: int | None = None
    offset: int | None = None
    path: str | None = None
    fix: str | None = None
    providers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say what is wrong, at which path, and what to do, in one line."""
        said = f"{self.level} {self.code}{f' at {self.path}' if self.path else ''}: {self.message}"
        return f"{said}; {self.fix}" if self.fix else said


class DataFile(Value):
    """Be one file as it stood when it was read: `bytes` long, with this SHA-256 and so many examples."""

    role: Role
    path: Path
    sha256: str
    bytes: int
    examples: int


class Tokens(Value):
    """Count or estimate the tokens of one epoch; `basis` says in words how, `method` in one.

    Between `low` and `high` they lie in 95 of 100 cases; counted exactly, both are `expected`. `trained` are learnt,
    `masked` only read; of the records, `over_limit` are longer than `limit` tokens, and have `over_limit_tokens`
    together. None means not looked at.
    """

    low: int
    expected: int
    high: int
    longest: int
    basis: str
    method: Literal["rough", "sampled", "exact"] = "rough"
    trained: int | None = None
    masked: int | None = None
    limit: int | None = None
    over_limit: int | None = None
    over_limit_tokens: int | None = None


PrivacyKind = Literal["email", "phone", "card", "iban", "national-id", "ip", "private-key", "key", "jwt"]


class PrivacyPolicy(Value):
    """Name the kinds of private data that may not leave this machine; `anytune check --privacy` finds them."""

    block: Annotated[tuple[PrivacyKind, ...], Field(description="kinds, such as card and key")] = ()


class PrivacySample(Value):
    """Show where one value stands and a hint of what it is.

    `line` and `column` (in characters) count from 1, `offset` counts bytes from the file's start; `path` leads to the
    string or number in the record that holds it. Column and offset are None where a redaction met the value only after
    it had replaced others: then it stands in no file.
    """

    kind: str
    line: int
    column: int | None = None
    offset: int | None = None
    path: str
    masked: str


class PrivacyReport(Value):
    """Count the private values of one file by kind; `bytes` and `records` are what was looked at.

    `records` are the lines that are not blank, `records_with` those that hold any. `unread` lines were too long to be
    looked at. `kinds` are those that were looked for. `engine` is the one that picked the lines: both find the same.
    """

    path: Path
    bytes: int
    records: int
    records_with: int
    counts: dict[str, int] = {}
    samples: tuple[PrivacySample, ...] = ()
    unread: int = 0
    kinds: tuple[str, ...]
    engine: str

    @property
    def clear(self) -> bool:
        """Tell whether the whole file was looked at and nothing was found."""
        return not self.counts and not self.unread


class Statistics(Value):
    """Describe a file's records, from `sampled` of them (all, if they are few).

    `roles` are messages by role, `turns` the median number of messages, `bytes` the shortest, median, 95th percentile
    and longest line of the whole file, `scripts` the shares of letters by script. `answers` are the last answers with
    their numbers, if there are few different ones: the classes of a classification.
    """

    sampled: int
    roles: dict[str, int] = {}
    turns: float = 0
    bytes: tuple[int, int, int, int] = (0, 0, 0, 0)
    scripts: dict[str, float] = {}
    answers: dict[str, int] = {}


class Source(Value):
    """Name a file of which a job has several; each example counts as often as `weight` says."""

    path: Annotated[Path, Field(description="examples, JSON lines")]
    weight: Annotated[float, Field(gt=0, le=1000, description="how often each example counts; 0.5: every other")] = 1.0


class Part(Value):
    """Be one of several files that a job trains on; `taken` is how many examples its weight comes to."""

    file: DataFile
    weight: float
    taken: int


class FileReport(Value):
    """Report one file: faults (the first of each code) and counts of all by code.

    `part` says of one of several files how much of it is in the one that they come to, which has `file`.
    """

    path: Path
    examples: int
    errors: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()
    counts: dict[str, int] = {}
    tokens: Tokens | None = None
    statistics: Statistics | None = None
    privacy: PrivacyReport | None = None
    file: DataFile | None = None
    part: Part | None = None

    def __str__(self) -> str:
        """Say in a line how many faults there are, and each that is shown in a line of its own."""
        issues = (*self.errors, *self.warnings)
        count = sum(self.counts.values())
        head = f"{self.path}: {self.examples:,} examples, {count or 'no'} fault{'' if count == 1 else 's'}"
        places = (":".join(str(at) for at in (self.path, i.line, i.column) if at is not None) for i in issues)
        return "\n".join([head, *(f"{at}: {issue}" for at, issue in zip(places, issues, strict=True))])


class DataReport(Value):
    """Report all files of one run."""

    files: tuple[FileReport, ...]

    def __str__(self) -> str:
        """Say of each file what its own report says."""
        return "\n".join(map(str, self.files))

    @property
    def errors(self) -> tuple[Issue, ...]:
        """Return the errors of all files."""
        return tuple(issue for report in self.files for issue in report.errors)

    @property
    def warnings(self) -> tuple[Issue, ...]:
        """Return the warnings of all files."""
        return tuple(issue for report in self.files for issue in report.warnings)

    @property
    def ok(self) -> bool:
        """Tell whether no file has an error."""
        return not any(report.errors for report in self.files)

    def role(self, role: Role) -> FileReport | None:
        """Return the report of the file that plays this role, if there is one."""
        return next((r for r in self.files if r.file is not None and r.file.role == role), None)
