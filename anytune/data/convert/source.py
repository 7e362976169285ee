"""Open a file of whatever layout and yield its records one by one."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from anytune.data import sniff
from anytune.data.convert import table
from anytune.data.convert.loss import Notes
from anytune.data.convert.pull import BrokenError, Pull
from anytune.data.lines import Lines
from anytune.errors import RefusedError

WRAPPERS = ("data", "examples", "records", "rows", "train", "instances", "samples", "dataset")
_PAIR = r'\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.\w]+)\s*,'
_WRAPPED = re.compile(rf'\{{(?:{_PAIR})*\s*"(?:{"|".join(WRAPPERS)})"\s*:\s*\['.encode())
_CHATML = re.compile(rb"\s*(?:<s>|<\|endoftext\|>)?\s*<\|im_start\|>")
_NEXT_CHAT = re.compile(rb"<\|im_start\|>system\b|<\|endoftext\|>")
_TEXT_SUFFIXES = frozenset({".txt", ".text", ".chatml", ".md"})
_decode = msgspec.json.Decoder().decode


class Item(NamedTuple):
    """Be one record of a file and where it stands; `trouble` is the code of a loss if it could not be read.

    `text` is the JSON that it was read from, if it was.
    """

    number: int
    line: int | None
    value: Any
    trouble: str | None = None
    text: bytes = b""


class Opened(NamedTuple):
    """Be a file whose layout is known; `envelope` collects what stands around the records."""

    container: str
    items: Iterator[Item]
    envelope: Notes


def open_source(path: Path, stream: BinaryIO, *, given: str | None) -> Opened:
    """Recognise the layout of a file and return its records; `given` is `csv` or `tsv` if the caller said so."""
    head = _head(stream)
    name, packed = path.name.lower(), ""
    if sniff.kind(head) == "gzip":
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
        head, name, packed = _gzip_head(path, stream), name.removesuffix(".gz"), ", gzip"
    container = given or _layout(head, Path(name).suffix, path)
    envelope = Notes()
    if container in ("csv", "tsv"):
        encoding = _encoding(path, stream)
        items = _rows(stream, head, container=container, encoding=encoding)
        packed += ", read as cp1252, since it is not UTF-8" if encoding == "cp1252" else ""
    else:
        items = _items(container, stream, envelope)
    return Opened(container + packed, _told(path, items), envelope)


def _layout(head: bytes, suffix: str, path: Path) -> str:
    kind = sniff.kind(head)
    if kind in sniff.ARCHIVES.values():
        raise RefusedError(f"{path.name} is a {kind} file", fix="unpack it first, or pack it with gzip")
    if kind == "utf-16":
        raise RefusedError(f"{path.name} is UTF-16", fix="save it as UTF-8")
    if kind == "parquet":
        return kind
    bare = head.removeprefix(sniff.BOM)
    if suffix in (".csv", ".tsv"):
        return suffix[1:]
    if _CHATML.match(bare):
        return "chatml text"
    if suffix in _TEXT_SUFFIXES and bare.lstrip()[:1] not in (b"{", b"["):
        return "text"
    return _json_layout(bare, kind)


def _json_layout(head: bytes, kind: str) -> str:
    first, _, rest = (part.strip() for part in head.lstrip().partition(b"\n"))
    alone = _is_json(first.removesuffix(b","))
    if _WRAPPED.match(head.lstrip()) and not (alone and rest):
        return "wrapped array"
    if kind == "lines" and first.startswith(b"{") and first.endswith(b",") and rest and not alone:
        return "pretty-printed"
    return kind


def _encoding(path: Path, stream: BinaryIO) -> str:
    try:
        return table.encoding_of(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RefusedError(f"{path.name}: the compressed data breaks off; nothing was written") from error


def _rows(stream: BinaryIO, head: bytes, *, container: str, encoding: str) -> Iterator[Item]:
    rows = table.csv(stream, head, encoding=encoding, tabs=container == "tsv")
    for number, (line, row) in enumerate(rows, 1):
        yield Item(number, line, row, None if row is not None else "column-mismatch")


def _items(container: str, stream: BinaryIO, envelope: Notes) -> Iterator[Item]:
    if container == "parquet":
        return (Item(number, None, row) for number, row in enumerate(table.parquet(stream), 1))
    if container == "chatml text":
        return _conversations(stream)
    if container in ("text", "lines"):
        return _lines(stream, read=_value if container == "lines" else _text)
    return _pulled(container, Pull(stream), envelope)


def _told(path: Path, items: Iterator[Item]) -> Iterator[Item]:
    """Turn what ends the reading of a file into a word to the user."""
    try:
        yield from items
    except BrokenError as error:
        raise RefusedError(
            f"{path.name}:{error.line}: it breaks off here: {error.what}; nothing was written",
            fix="mend this place, or write one object a line: a broken line does not hide the others",
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RefusedError(f"{path.name}: the compressed data breaks off; nothing was written") from error
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path.name} is not UTF-8; nothing was written", fix="save it as UTF-8") from error


def _lines(stream: BinaryIO, *, read: Any) -> Iterator[Item]:
    number = 0
    for place, line in Lines(stream):
        if line is None:
            number += 1
            yield Item(number, place, None, "line-too-large")
            continue
        line = (line.removeprefix(sniff.BOM) if place == 1 else line).removesuffix(b"\r")
        if line.strip():
            number += 1
            value, trouble = read(line)
            if trouble is not None and not _is_utf8(line):
                trouble = "not-utf-8"
            yield Item(number, place, value, trouble, line if read is _value else b"")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _value(line: bytes) -> tuple[Any, str | None]:
    try:
        return _decode(line), None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    try:
        return _decode(line.rstrip().removesuffix(b",")), None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None, "not-json"


def _text(line: bytes) -> tuple[Any, str | None]:
    return {"text": line.decode()}, None


def _conversations(stream: BinaryIO) -> Iterator[Item]:
    """Cut ChatML text where a system message, an end of text, or a blank line after a message begins another chat."""
    held: list[bytes] = []
    number, began, last, closed = 0, 1, b"", False
    for place, line in Lines(stream):
        if line is None:
            raise BrokenError("the line is too long", place)
        bare = (line.removeprefix(sniff.BOM) if place == 1 else line).strip()
        if last and (_NEXT_CHAT.match(bare) or (closed and bare.startswith(b"<|im_start|>"))):
            number += 1
            yield Item(number, began, {"text": b"\n".join(held).decode()})
            held, last, closed = [], b"", False
        if not last:
            held, began = [], place
        held.append(line.removeprefix(sniff.BOM) if place == 1 else line)
        last = bare or last
        closed = last.endswith(b"<|endoftext|>") or (not bare and last.endswith(b"<|im_end|>"))
    if last:
        yield Item(number + 1, began, {"text": b"\n".join(held).decode()})


def _pulled(container: str, pull: Pull, envelope: Notes) -> Iterator[Item]:
    if container == "json-array":
        yield from _array(pull)
    elif container == "wrapped array":
        yield from _wrapped(pull, envelope)
    else:
        number = 0
        while pull.peek():
            number += 1
            line = pull.line
            yield Item(number, line, pull.value(), text=pull.taken)
            pull.skip(",")
    if pull.peek():
        raise BrokenError("something follows the end", pull.line)


def _array(pull: Pull) -> Iterator[Item]:
    pull.expect("[")
    number = 0
    while not pull.skip("]"):
        number += 1
        pull.peek()
        line = pull.line
        yield Item(number, line, pull.value(), text=pull.taken)
        if not pull.skip(","):
            pull.expect("]")
            return


def _wrapped(pull: Pull, envelope: Notes) -> Iterator[Item]:
    """Yield the records of the one list that an object wraps, and note its other keys."""
    pull.expect("{")
    around: dict[str, Any] = {}
    found = False
    while not pull.skip("}"):
        key = str(pull.value())
        pull.expect(":")
        if key in WRAPPERS and not found and pull.peek() == "[":
            found = True
            yield from _array(pull)
        else:
            around[key] = pull.value()
        if not pull.skip(","):
            pull.expect("}")
            break
    envelope.rest(around, ())


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(sniff.HEAD)
    stream.seek(0)
    return head


def _gzip_head(path: Path, stream: BinaryIO) -> bytes:
    try:
        return _head(stream)
    except (OSError, EOFError, zlib.error) as error:
        raise RefusedError(f"{path.name} is no whole gzip file") from error


def _is_json(text: bytes) -> bool:
    return _value(text)[1] is None
