"""Carry out a conversion: recognise each record, read it, write it, and name what is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from anytune.data.aside import aside
from anytune.data.convert import (
    alpaca,
    anthropic,
    chat,
    chatml,
    log,
    preference,
    prompt,
    recognise,
    responses,
    sharegpt,
    source,
    verify,
)
from anytune.data.convert.ledger import Ledger, Place
from anytune.data.convert.loss import Note, Notes, UnfitError, named
from anytune.data.convert.partner import Half, Partners
from anytune.data.convert.repeat import repeated
from anytune.data.convert.result import Conversion, Kind
from anytune.data.convert.shape import Record, is_pair, is_text, messages_in
from anytune.data.input import blank, opened, refuse_unreadable
from anytune.errors import UsageError

Reader = Callable[[Record, Notes], Record | Half]
Writer = Callable[[Record, Notes], Record]
READERS: dict[str, Reader] = {
    "chat": chat.read,
    "sharegpt": chat.read,
    "alpaca": alpaca.read,
    "openai-log": log.read,
    "responses": responses.read,
    "anthropic": anthropic.read,
    "chatml": chatml.read,
    "prompt-completion": prompt.read,
    "question-answer": prompt.read_question,
    "text": prompt.read_text,
    "trl-preference": preference.read_chosen,
    "preference": preference.read,
    "kto": preference.half,
}
WRITERS: dict[str, Writer] = {
    "chat": prompt.write_chat,
    "alpaca": alpaca.write,
    "sharegpt": sharegpt.write,
    "trl": preference.write,
    "prompt-completion": prompt.write,
    "text": prompt.write_text,
}
_JOINS = {"kto": preference.join, "batch": log.join}
_READ_BACK = frozenset({"alpaca", "sharegpt", "trl", "prompt-completion"})
_TABLES = ("csv", "tsv")
SOURCES = (*READERS, *_TABLES)
TARGETS = tuple(WRITERS)
SUFFIX = ".prepared.jsonl"
_encode = msgspec.json.Encoder().encode


def convert(
    path: Path | str,
    *,
    to: str = "chat",
    source: str | None = None,
    out: Path | str | None = None,
    force: bool = False,
    show: int = 20,
) -> Conversion:
    """Write the records of a file in another format, and name everything that the new file does not hold.

    `to` is one of TARGETS; `chat` gives chats, and pairs from preference data. Each record's format is recognised,
    unless `source`, one of SOURCES, names it. The new file is JSON lines, `<name>.prepared.jsonl` beside the old
    one if `out` is None; it appears when all is written, and only if there is a record to write. `force` lets it
    take another file's place; `show` bounds the losses of one code that are kept, never the counts.

    A record that cannot be converted is left out and named. Raises UsageError for a wrong name, RefusedError for a
    file that cannot be read, holds nothing, or breaks off where no next record can be found.
    """
    path = Path(path)
    _check_names(to, source)
    refuse_unreadable(path)
    target = prepared(path) if out is None else Path(out)
    _check_free(path, target, force=force)
    ledger = Ledger(show)
    with opened(path) as stream:
        container = _copy(path, stream, _Run(ledger, to, source, target))
    if container == "lines" and not ledger.read:
        raise blank(path)
    return ledger.closed(path, target, to, container)


def prepared(path: Path) -> Path:
    """Return the name that a converted file gets beside the old one."""
    name = path.name
    for suffix in (".gz", Path(name.removesuffix(".gz")).suffix):
        name = name.removesuffix(suffix) if suffix else name
    return path.with_name((name or path.name) + SUFFIX)


class _NothingError(Exception):
    """Take back a new file that would be empty."""


class _Run(NamedTuple):
    ledger: Ledger
    to: str
    source: str | None
    out: Path


class _Waiting(NamedTuple):
    """Be what is known of a half that waits: where it stands and what it lost."""

    place: Place
    notes: tuple[Note, ...]


def _copy(path: Path, stream: BinaryIO, run: _Run) -> str:
    given = run.source if run.source in _TABLES else None
    opened = source.open_source(path, stream, given=given)
    try:
        with aside(run.out) as file:
            copier = _Copier(run, file)
            for item in opened.items:
                copier.take(item)
            copier.finish()
            run.ledger.noted(opened.envelope.found, Place(0, None))
            if not run.ledger.written:
                raise _NothingError
    except _NothingError:
        pass
    return opened.container


class _Copier:
    """Take in items one by one and write what becomes of them."""

    def __init__(self, run: _Run, file: BinaryIO) -> None:
        self._ledger = run.ledger
        self._to = run.to
        self._write = WRITERS[run.to]
        self._given = recognise.Seen(run.source, (), "given") if run.source in READERS and run.source else None
        self._file = file
        self._kind: Kind | None = None
        self._partners: Partners[_Waiting] = Partners()

    def take(self, item: source.Item) -> None:
        """Convert one record, or let it wait for its other half."""
        self._ledger.read += 1
        place, notes = Place(item.number, item.line), Notes()
        try:
            if item.trouble is not None:
                raise UnfitError(item.trouble)
            for again in repeated(item.value, item.text) if item.text else ():
                notes.lost("key-repeated", again)
            made = self._read(_record(item.value), notes)
            if isinstance(made, Half):
                self._pair(made, place, notes)
            else:
                self._put(made, notes)
                self._ledger.noted(notes.found, place)
        except UnfitError as error:
            self._ledger.out(error.note, place)
        except RecursionError:
            self._ledger.out(Note("nested-too-deep", (), None), place)

    def finish(self) -> None:
        """Leave out the halves that found no other."""
        for held in self._partners.rest():
            self._ledger.out(Note(held.half.left_over, (), None), held.owner.place)

    def _read(self, record: Record, notes: Notes) -> Record | Half:
        seen = self._given or recognise.recognise(record)
        if seen is None:
            raise UnfitError("format-unknown", (), named(list(record)))
        self._ledger.met(seen)
        return READERS[seen.format](record, notes)

    def _pair(self, half: Half, place: Place, notes: Notes) -> None:
        held = self._partners.take(half)
        if held is None:
            lost = self._partners.hold(half, _Waiting(place, notes.settled()))
            if lost is not None:
                self._ledger.out(Note(lost.half.left_over, (), None), lost.owner.place)
            return
        sides = [half.value, self._partners.value(held)]
        first, second = sides if half.first else sides[::-1]
        try:
            made = _JOINS[half.kind](first, second, notes)
            self._put(made, notes)
        except UnfitError as error:
            self._ledger.out(error.note, held.owner.place)
            raise
        self._ledger.joined += 1
        self._ledger.noted(held.owner.notes, held.owner.place)
        self._ledger.noted(notes.found, place)

    def _put(self, record: Record, notes: Notes) -> None:
        kind = _kind(record, self._to)
        added = Notes()
        written = self._write(record, added)
        if self._to in _READ_BACK and written is not record and not is_text(record):
            verify.compare(record, written, _reader_of(written), added)
        if kind != (self._kind or kind):
            raise UnfitError("mixed-kinds", (), None)
        self._file.write(_encoded(written) + b"\n")
        self._kind = self._ledger.kind = kind
        self._ledger.written += 1
        notes.found += added.found


def _record(value: object) -> Record:
    """Return a record; a bare list of messages is a chat."""
    if isinstance(value, list) and (messages := messages_in(value)) is not None:
        return {"messages": messages}
    if not isinstance(value, dict):
        raise UnfitError("not-an-object", (), value)
    return value


def _reader_of(written: Record) -> Reader:
    seen = recognise.recognise(written)
    return READERS[seen.format] if seen else chat.read


def _kind(record: Record, to: str) -> Kind:
    if is_pair(record):
        return "pair"
    return "text" if is_text(record) and to == "trl" else "chat"


def _encoded(record: Record) -> bytes:
    try:
        return _encode(record)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitError("not-encodable") from error


def _check_names(to: str, given: str | None) -> None:
    for name, known, what in ((to, TARGETS, "to"), (given, SOURCES, "from")):
        if name is not None and name not in known:
            raise UsageError(f"there is no format {name} to convert {what}", fix=f"one of {', '.join(known)}")


def _check_free(path: Path, out: Path, *, force: bool) -> None:
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"{path.name} cannot be converted onto itself", fix="name another file with --out")
    if out.exists() and not force:
        raise UsageError(f"{out} exists", fix="name another file with --out, or --force to replace it")
