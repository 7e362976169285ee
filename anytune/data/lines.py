"""Read a file's lines in one pass and in little memory, hashing it on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

CHUNK = 1 << 20
LONGEST = 128 << 20


class Lines:
    """Iterate over (number, line) of a stream, split at the line feed only; a line that is too long is None.

    Only the line feed ends a line: `splitlines` would also split at U+2028 and others that may stand in JSON
    text. `sha256` and `size` are those of the whole stream once it has been iterated over or drained.
    """

    def __init__(self, stream: BinaryIO, *, chunk: int = CHUNK, longest: int = LONGEST) -> None:
        self._stream = stream
        self._chunk = chunk
        self._longest = longest
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Return the hash of what was read so far, in hexadecimal."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        number, open_line = 1, _Open(self._longest)
        while chunk := self._read():
            first, *others = chunk.split(b"\n")
            open_line.add(first)
            if not others:
                continue
            yield number, open_line.close()
            for line in others[:-1]:
                number += 1
                yield number, line if len(line) <= self._longest else None
            number += 1
            open_line.add(others[-1])
        if open_line.length:
            yield number, open_line.close()

    def drain(self) -> None:
        """Read the rest for the hash and the size only."""
        while self._read():
            pass

    def _read(self) -> bytes:
        chunk = self._stream.read(self._chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        return chunk


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
        elif piece:
            self._pieces.append(piece)

    def close(self) -> bytes | None:
        line = b"".join(self._pieces) if self.length <= self._longest else None
        self._pieces.clear()
        self.length = 0
        return line
