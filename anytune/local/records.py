"""A file of records as what is learnt from, line by line, and what of it is not: nothing is left out in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple

from anytune.data.lines import Lines
from anytune.data.sniff import BOM
from anytune.errors import UsageError
from anytune.local.encode import Cuts, Encoder, Item, ItemT
from anytune.local.messages import CHECK
from anytune.schema.training import OverLength

NAMED = 5  # lines that an error names
OTHERWISE = "raise training.max_length, or say what becomes of them: training.over_length: drop, or truncate_left"


class Limit(NamedTuple):
    """Be how many tokens an example may have, and what becomes of one that has more."""

    tokens: int
    over: OverLength


class Read(NamedTuple, Generic[ItemT]):
    """Be an example with what training sees of it, None where that is nothing.

    `changed` is the record that `kept` was made of, where that is not the one in the file.
    """

    whole: ItemT
    kept: ItemT | None
    changed: dict[str, Any] | None = None

    @property
    def taught(self) -> ItemT | None:
        """Return what is learnt from."""
        return self.kept if self.kept is not None and self.kept.teaches else None

    @property
    def is_over(self) -> bool:
        """Tell whether it is longer than the limit."""
        return self.kept is not self.whole

    @property
    def tokens_lost(self) -> int:
        """Return how many of its tokens training does not see."""
        return tokens(self.whole) - (0 if self.taught is None else tokens(self.taught))

    @property
    def trained_lost(self) -> int:
        """Return how many of the tokens that would be trained are not."""
        return self.whole.supervised - (0 if self.taught is None else self.taught.supervised)


@dataclass
class EncodedFile(Generic[ItemT]):
    """Be a whole file: its examples, and what of it is not learnt.

    `over` are the lines of those longer than the limit, with their tokens; `cut` of them are learnt shorter, `left_out`
    not at all. `idle` are the lines of others that teach nothing.
    """

    examples: list[ItemT] = field(default_factory=list)
    over: list[tuple[int, int]] = field(default_factory=list)
    cut: int = 0
    tokens_cut: int = 0
    left_out: list[int] = field(default_factory=list)
    tokens_left_out: int = 0
    idle: list[int] = field(default_factory=list)
    answer_tokens: int = 0
    answer_tokens_lost: int = 0

    def add(self, read: Read[ItemT], line: int) -> None:
        """Add an example."""
        self.answer_tokens += read.whole.supervised
        self.answer_tokens_lost += read.trained_lost
        if read.is_over:
            self.over.append((line, len(read.whole)))
        if read.taught is not None:
            self.examples.append(read.taught)
            self.cut += read.is_over
            self.tokens_cut += read.tokens_lost
        elif read.is_over:
            self.left_out.append(line)
            self.tokens_left_out += read.tokens_lost
        else:
            self.idle.append(line)


def encode_file(path: Path, encoder: Encoder[ItemT], *, name: str, limit: Limit) -> EncodedFile[ItemT]:
    """Encode a JSONL file; raise `UsageError` for a line that is no example, or one over a limit that is to be kept."""
    found: EncodedFile[ItemT] = EncodedFile()
    with path.open("rb") as file:
        for line, raw in filled(file):
            where = f"{name} file, line {line}"
            found.add(read(encoder, decoded(raw, where), limit, where=where, line=line), line)
    if found.over and limit.over == "refuse":
        raise UsageError(f"the {name} file has {_longer(found.over, limit, encoder.room)}", fix=OTHERWISE)
    if not found.examples:
        none = not (found.over or found.idle)
        why = "is empty" if none else f"has no {encoder.teaching} within max_length {limit.tokens}"
        raise UsageError(f"the {name} file {why}", fix=None if none else "raise training.max_length")
    return found


def read(encoder: Encoder[ItemT], record: dict[str, Any], limit: Limit, *, where: str, line: int) -> Read[ItemT]:
    """Encode a record, and what training sees of it; `where` names it in errors."""
    whole, most = encoder.example(record, where=where, line=line), limit.tokens - encoder.room
    if len(whole) <= most:
        return Read(whole, whole)
    if limit.over == "truncate_right" and isinstance(whole, Cuts):
        return Read(whole, whole.cut(most))
    if limit.over == "truncate_left" and (cut := encoder.shortened(record, most, where=where)) is not None:
        return Read(whole, encoder.example(cut, where=where, line=line), cut)
    return Read(whole, None)


def tokens(item: Item) -> int:
    """Return how many tokens all sequences of an example have."""
    return sum(map(len, item.rows))


def _longer(over: list[tuple[int, int]], limit: Limit, room: int) -> str:
    """Name the examples that are too long, the first few by line."""
    named = ", ".join(f"line {line} ({length:,} tokens)" for line, length in over[:NAMED])
    more = f" and {len(over) - NAMED:,} more" if len(over) > NAMED else ""
    behind = f" less the {room:,} of an answer" if room else ""
    some = "an example" if len(over) == 1 else f"{len(over):,} examples"
    return f"{some} longer than max_length {limit.tokens:,}{behind}: {named}{more}"


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
