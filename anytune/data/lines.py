"""Read a file's lines in one pass and in little memory, hashing it on the way."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK = 1 << 17
LONGEST = 128 << 20


class Block(NamedTuple):
    """Be some lines that follow one another: the byte offset of the first one, and all their bytes.

    The last line may lack its line feed. A view is good only until the next block is asked for. None stands for a
    single line that is too long; `size` counts its bytes, too.
    """

    offset: int
    text: bytes | memoryview | None
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
        self._buffer = bytearray(2 * chunk)  # always the same, so that it stays in the cache of the processor
        self.size = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was read so far, in hexadecimal."""
        return self._digest.hexdigest() if self._digest else ""

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        number = 1
        for _, text, _ in self.blocks():
            lines = [None] if text is None else bytes(text).removesuffix(b"\n").split(b"\n")
            yield from enumerate(lines, start=number)
            number += len(lines)

    def blocks(self) -> Iterator[Block]:
        """Yield the lines in blocks of about a chunk."""
        offset, held, lost = self._start, 0, 0  # of the open line, so many bytes are held, or were too many to be
        while read := self._read(held):
            end = self._buffer.rfind(b"\n", held, held + read) + 1
            begin = self._buffer.find(b"\n") + 1 if lost and end else 0
            if begin:
                yield Block(offset, None, lost + begin)
                offset, lost = offset + lost + begin, 0
            for block in self._whole(offset, begin, end):
                yield block
                offset += block.size
            held = self._move(end, held + read) if end else held + read
            if lost or held > self._longest:
                held, lost = 0, lost + held
        if lost:
            yield Block(offset, None, lost)
        elif held:
            yield Block(offset, memoryview(self._buffer)[:held], held)

    def _whole(self, offset: int, begin: int, end: int) -> Iterator[Block]:
        """Yield the whole lines that stand between two places of the buffer, one by one if some may be too long."""
        view = memoryview(self._buffer)
        if begin < end <= begin + self._longest:
            yield Block(offset, view[begin:end], end - begin)
            return
        while begin < end:
            stop = self._buffer.index(b"\n", begin) + 1
            text = view[begin:stop] if stop - begin <= self._longest + 1 else None
            yield Block(offset, text, stop - begin)
            offset, begin = offset + stop - begin, stop

    def _move(self, start: int, end: int) -> int:
        """Move what begins a line to the start of the buffer, and return how much it is."""
        self._buffer[: end - start] = self._buffer[start:end]
        return end - start

    def drain(self) -> None:
        """Read the rest for the hash and the size only."""
        while self._read(0):
            pass

    def _read(self, held: int) -> int:
        """Read a chunk behind what is held in the buffer, and return how many bytes it has."""
        wanted = self._chunk if self._end is None else min(self._chunk, self._end - self._start - self.size)
        if held + wanted > len(self._buffer):
            larger = bytearray(2 * (held + wanted))
            larger[:held] = memoryview(self._buffer)[:held]
            self._buffer = larger
        read = _into(self._stream, memoryview(self._buffer)[held : held + max(wanted, 0)])
        if self._digest:
            self._digest.update(memoryview(self._buffer)[held : held + read])
        self.size += read
        return read


def _into(stream: BinaryIO, room: memoryview) -> int:
    assert isinstance(stream, io.RawIOBase | io.BufferedIOBase)  # as every stream of bytes is
    return stream.readinto(room) or 0
