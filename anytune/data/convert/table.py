"""Read the rows of CSV, TSV and Parquet files as records."""

from __future__ import annotations

import codecs
import csv as stdlib
import io
import math
from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO

from anytune.data.convert.pull import NotFinite
from anytune.data.lines import CHUNK, LONGEST
from anytune.errors import MissingExtraError, RefusedError

DELIMITERS = ",\t;|"
_ROWS = 256  # rows of Parquet that are in memory at a time


def encoding_of(stream: BinaryIO) -> str:
    """Return `utf-8-sig`, or `cp1252` for a stream that is not UTF-8; the stream stands at its beginning again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := stream.read(CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        stream.seek(0)
    return "utf-8-sig"


def csv(stream: BinaryIO, head: bytes, *, encoding: str, tabs: bool) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield (line, row) of a text whose first row names the columns; a row with too many cells is None.

    Empty cells are left out; all others are text.
    """
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    limit = stdlib.field_size_limit(LONGEST)
    try:
        rows = stdlib.reader(text, delimiter=_delimiter(head, tabs=tabs))
        columns = [name.strip().lower() for name in next(rows, [])]
        if not any(columns) or len(set(columns)) < len(columns):
            raise RefusedError(
                "the first row has to name the columns, each once", fix="add a row such as prompt,completion"
            )
        began = rows.line_num + 1
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield began, _row(columns, cells)
            began = rows.line_num + 1
    except stdlib.Error as error:
        raise RefusedError(f"the table cannot be read: {error}") from error
    finally:
        stdlib.field_size_limit(limit)
        text.detach()


def parquet(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield rows; nulls are left out, since a column of objects fills them in wherever one object lacks a key."""
    try:
        arrow, files = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError(needs="pyarrow", extra="parquet") from error
    try:
        for batch in files.ParquetFile(stream).iter_batches(batch_size=_ROWS):
            yield from (_without_null(row) for row in batch.to_pylist())
    except (arrow.ArrowException, OSError) as error:
        raise RefusedError(f"the Parquet file cannot be read: {str(error).splitlines()[0]}") from error


def _delimiter(head: bytes, *, tabs: bool) -> str:
    """Find what stands between the cells; only what also stands in the first row counts."""
    first = head.decode(errors="replace").partition("\n")[0]
    present = [character for character in DELIMITERS if character in first]
    if tabs and "\t" in present:
        return "\t"
    if len(present) <= 1:
        return present[0] if present else ","
    try:
        return stdlib.Sniffer().sniff(first, delimiters="".join(present)).delimiter
    except stdlib.Error:
        return max(present, key=first.count)


def _row(columns: list[str], cells: list[str]) -> dict[str, Any] | None:
    if any(cell.strip() for cell in cells[len(columns) :]):
        return None
    pairs = zip(columns, cells, strict=False)
    return {column: cell for column, cell in pairs if column and cell}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, float) and not math.isfinite(value):
        return NotFinite()
    return [_without_null(item) for item in value] if isinstance(value, list) else value
