"""What a conversion did: which formats it met, what it wrote, and what it could not keep."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anytune.schema.base import Value

Kind = Literal["chat", "pair", "text"]
Sure = Literal["certain", "likely", "given"]


class Loss(Value):
    """Name one thing that the new file does not hold.

    `record` counts the records of the old file from 1, 0 stands for what is around them; `line` is None where it has
    no lines (Parquet). `path` is a JSON path into the old record, or into the chat for what only the new format cannot
    hold. With `left_out` the whole record is missing.
    """

    code: str
    record: int
    line: int | None
    path: str
    what: str
    why: str
    left_out: bool


class Recognised(Value):
    """Be one format that was met: how often, by which keys, and how sure; `given` if the caller named it."""

    format: str
    records: int
    sure: Sure
    by: tuple[str, ...] = ()


class Conversion(Value):
    """Be one finished conversion: `read` = `written` + `left_out` + `joined`, in records.

    `joined` counts the records that went into another one (two halves make one). `losses` holds the first of each
    code in the order of the file, `counts` all by code. Without a record to write, `out` and `kind` (what the new file
    holds) are None.
    """

    path: Path
    out: Path | None
    to: str
    kind: Kind | None
    container: str
    formats: tuple[Recognised, ...]
    read: int
    written: int
    left_out: int
    joined: int = 0
    losses: tuple[Loss, ...] = ()
    counts: dict[str, int] = {}

    @property
    def ok(self) -> bool:
        """Tell whether every record was converted."""
        return self.left_out == 0 and self.written > 0
