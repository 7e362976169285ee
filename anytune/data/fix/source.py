"""Open a file whatever it is wrapped in, and yield its lines."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from anytune.data import sniff
from anytune.data.fix.record import Step
from anytune.data.fix.values import Values
from anytune.data.lines import Lines
from anytune.errors import RefusedError

Numbered = tuple[int, bytes | None]
_UNPACK: dict[str, Callable[[BinaryIO], object]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
_LAYOUTS = {
    "json-array": "write each element of the array on a line of its own",
    "pretty-printed": "write each object on one line",
}
_INSTEAD = dict.fromkeys(("csv", "parquet"), "anytune convert turns it into chats")
_MARKS = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Source:
    """Iterate over (number, line) of a stream; `steps` are what has to be done to the file as a whole.

    Raises `RefusedError` for a file that has no lines: an archive that cannot be unpacked here, or a table.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.steps: list[Step] = []
        self._lines = self._open(stream)

    def __iter__(self) -> Iterator[Numbered]:
        try:
            yield from self._lines
        except UnicodeDecodeError as error:
            raise RefusedError(f"the file is not {error.encoding} throughout", fix="save it as UTF-8") from error
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise RefusedError(f"the archive is broken: {error}", fix="pack it or fetch it again") from error

    def _open(self, stream: BinaryIO) -> Iterator[Numbered]:
        stream, kind, head = self._unpacked(stream)
        if kind == "utf-16":
            encoding = _encoding(head)
            self.steps.append(Step("utf-16", f"write the file as UTF-8 instead of {encoding}"))
            stream = cast(BinaryIO, _Recoded(stream, encoding))
            head = head.decode(encoding, errors="replace").removeprefix("\ufeff").encode()
            kind = sniff.kind(head)
        elif head.startswith(sniff.BOM):
            self.steps.append(Step("byte-order-mark", "remove the byte order mark"))
            stream.seek(len(sniff.BOM))
            head = head.removeprefix(sniff.BOM)
        if kind in _LAYOUTS:
            self.steps.append(Step(kind, _LAYOUTS[kind]))
            return iter(Values(stream, in_array=kind == "json-array"))
        if kind == "carriage-return-ends":
            self.steps.append(Step(kind, "end lines with a line feed"))
            return iter(Lines(cast(BinaryIO, _LineFeeds(stream))))
        if kind != "lines":
            raise RefusedError(f"this is not a file of records: {kind}", fix=_INSTEAD.get(kind, "unpack it first"))
        return iter(Lines(stream))

    def _unpacked(self, stream: BinaryIO) -> tuple[BinaryIO, str, bytes]:
        head = _head(stream)
        kind = sniff.kind(head)
        if kind not in _UNPACK:
            return stream, kind, head
        self.steps.append(Step("compressed", f"unpack the {kind} archive"))
        stream = cast(BinaryIO, _UNPACK[kind](stream))
        try:
            head = _head(stream)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            raise RefusedError(f"the archive is broken: {error}", fix="pack it or fetch it again") from error
        return stream, sniff.kind(head), head


class _Recoded(io.RawIOBase):
    """Read a stream in another encoding as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left = b""

    def readinto(self, room: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._left and (chunk := self._stream.read(len(room))):
            self._left = self._decoder.decode(chunk).removeprefix("\ufeff").encode()
        self._left = self._left or self._decoder.decode(b"", final=True).encode()
        text, self._left = self._left[: len(room)], self._left[len(room) :]
        room[: len(text)] = text
        return len(text)


class _LineFeeds(io.RawIOBase):
    """Read a stream whose lines end in carriage returns as if they ended in line feeds."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readinto(self, room: bytearray | memoryview) -> int:  # type: ignore[override]
        text = self._stream.read(len(room)).replace(b"\r", b"\n")
        room[: len(text)] = text
        return len(text)


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(sniff.HEAD)
    stream.seek(0, io.SEEK_SET)
    return head


def _encoding(head: bytes) -> str:
    """Name the encoding by the mark, or by where the NUL bytes of the first character stand."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    width = "utf-32" if head[:4].count(0) == 3 else "utf-16"
    return f"{width}-be" if head[0] == 0 else f"{width}-le"
