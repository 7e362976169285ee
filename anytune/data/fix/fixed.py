"""What was mended, what was left, and what remains, as values."""

from __future__ import annotations

from pathlib import Path

from anytune.schema.base import Value
from anytune.schema.data import DataReport, Level


class Change(Value):
    """Be one kind of change: its code, what it does, how often, and where.

    `level` is how the strictest of the chosen providers takes the fault; `asks` tells that the change alters
    meaning. `lines` are the first few lines of the input that it concerns, none if it concerns the whole file;
    `names` are the keys or words that it was about, with how often each.
    """

    code: str
    what: str
    count: int
    level: Level
    asks: bool = False
    lines: tuple[int, ...] = ()
    names: dict[str, int] = {}


class Fixed(Value):
    """Report a mending: `records` were read, `written` and `removed` add up to them.

    `done` is what was changed; `left` what a change of meaning would mend and nobody agreed to. `report` is the
    check of the new file `out`; both are None if nothing was to be written.
    """

    path: Path
    out: Path | None
    records: int
    written: int
    removed: int
    done: tuple[Change, ...]
    left: tuple[Change, ...]
    report: DataReport | None

    @property
    def ok(self) -> bool:
        """Tell whether no error remains; without a new file, whether none would wait for agreement."""
        if self.report is not None:
            return self.report.ok
        return not any(change.level == "error" for change in self.left)
