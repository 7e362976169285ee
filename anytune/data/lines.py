"""Read a file's lines in one pass and in little memory, hashing it on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK = 1 << 17
LONGEST = 128 << 20


class Block(NamedTuple):
    """Be some lines that follow one another: the byte offset of the first one, and all their bytes.

    The last line may lack its line feed. None stands for a single line that is too long; `size` counts its bytes, too.
    """

    offset: int
    text: bytes | None
    size: int


class Lines:
    """Iterate over (number, line) of a stream, split at the line feed only; a line that is too long is None.

    Only the line feed ends a line: `splitlines` would also split at U+2028 and others that may stand in JSON
    text. The stream is read from where it stands, which is the byte offset `start`, up to `end` if there is one.
    `sha256` and `size` are those of what was read once it has been iterated over or drained.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        chunk: int = CHUNK,
        longest: int = LONGEST,
        start: int = 0,
        end: int | None = None,
        hashed: bool = True,
    ) -> None:
        self._stream = stream
        self._chunk = chunk
        self._longest = longest
        self._digest = hashlib.sha256() if hashed else None
        self._start = start
        self._end = end
        self.size = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was read so far, in hexadecimal."""
        return self._digest.hexdigest() if self._digest else ""

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        number = 1
        for _, text, _ in self.blocks():
            lines = [None] if text is None else text.removesuffix(b"\n").split(b"\n")
            yield from enumerate(lines, start=number)
            number += len(lines)

    def blocks(self) -> Iterator[Block]:
        """Yield the lines in blocks of about a chunk."""
        offset, open_line = self._start, _Open(self._longest)
        while chunk := self._read():
            end = chunk.rfind(b"\n") + 1
            if not end:
                open_line.add(chunk)
                continue
            if open_line.length + end <= self._longest:
                text = open_line.close(chunk[:end] if end < len(chunk) else chunk)
                yield Block(offset, text, len(text))
                offset += len(text)
            else:
                for line in self._apart(open_line, chunk[: end - 1]):
                    yield Block(offset, line.text, line.size)
                    offset += line.size
            if end < len(chunk):
                open_line.add(chunk[end:])
        if open_line.length > self._longest:
            yield Block(offset, None, open_line.length)
        elif open_line.length:
            text = open_line.close(b"")
            yield Block(offset, text, len(text))

    def _apart(self, open_line: _Open, text: bytes) -> Iterator[_Line]:
        """Yield the lines of a text one by one, the first of which is open; those that are too long have no text."""
        first, *others = text.split(b"\n")
        size = open_line.length + len(first)
        if size > self._longest:
            open_line.forget()
            yield _Line(size + 1, None)
        else:
            yield _Line(size + 1, open_line.close(first + b"\n"))
        for other in others:
            yield _Line(len(other) + 1, other + b"\n" if len(other) <= self._longest else None)

    def drain(self) -> None:
        """Read the rest for the hash and the size only."""
        while self._read():
            pass

    def _read(self) -> bytes:
        wanted = self._chunk if self._end is None else min(self._chunk, self._end - self._start - self.size)
        chunk = self._stream.read(wanted) if wanted > 0 else b""
        if self._digest:
            self._digest.update(chunk)
        self.size += len(chunk)
        return chunk


class _Line(NamedTuple):
    """Be one line: its bytes with the line feed, and how many there are; None if it is too long."""

    size: int
    text: bytes | None


class _Open:
    """Collect the pieces of a line whose end has not been read; a piece is looked at once."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self.length = 0

    def add(self, piece: bytes) -> None:
        self.length += len(piece)
        if self.length > self._longest:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def forget(self) -> None:
        self._pieces.clear()
        self.length = 0

    def close(self, rest: bytes) -> bytes:
        """Return the line with its rest, and begin another."""
        whole = b"".join([*self._pieces, rest]) if self._pieces else rest
        self.forget()
        return whole
