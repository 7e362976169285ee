"""A file of records as what is learnt from, line by line, and what of it is not: nothing is left out in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic

from anytune.data.lines import Lines
from anytune.data.sniff import BOM
from anytune.errors import UsageError
from anytune.local.encode import Encoder, ItemT
from anytune.local.messages import CHECK


@dataclass(frozen=True)
class EncodedFile(Generic[ItemT]):
    """Be a whole file: its examples, and what cutting at `max_length` cost."""

    examples: list[ItemT]
    truncated: int
    dropped: list[int]  # lines that teach nothing, such as those whose answer was cut off entirely
    answer_tokens: int
    answer_tokens_lost: int


def encode_file(path: Path, encoder: Encoder[ItemT], *, name: str, max_length: int) -> EncodedFile[ItemT]:
    """Encode a JSONL file and cut each example at `max_length` tokens."""
    examples: list[ItemT] = []
    dropped, truncated, total, lost = [], 0, 0, 0
    with path.open("rb") as file:
        for line, raw in filled(file):
            where = f"{name} file, line {line}"
            whole = encoder.example(decoded(raw, where), where=where, line=line)
            example = whole.cut(max_length)
            total += whole.supervised
            lost += whole.supervised - example.supervised
            truncated += example is not whole
            if example.teaches:
                examples.append(example)
            else:
                dropped.append(line)
    if not examples:
        why = "is empty" if not dropped else f"has no {encoder.teaching} within max_length {max_length}"
        raise UsageError(f"the {name} file {why}", fix="raise training.max_length" if dropped else None)
    return EncodedFile(examples, truncated, dropped, total, lost)


def filled(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number, line) of all lines that are not blank; one that is too long to be read is None."""
    for number, line in Lines(file):
        raw = line.removeprefix(BOM) if line is not None and number == 1 else line
        if raw is None or raw.strip():
            yield number, raw


def decoded(raw: bytes | None, where: str) -> dict[str, Any]:
    """Return the record that stands on a line; what is JSON but no object is an empty one."""
    if raw is None:
        raise UsageError(f"{where}: the line is too long", fix=CHECK)
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise UsageError(f"{where}: not JSON: {what}", fix=CHECK) from error
    return record if isinstance(record, dict) else {}
