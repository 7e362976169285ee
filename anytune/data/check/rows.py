"""A key and a length for each line of a file: what is needed to compare records once all have been seen.

They are appended in the order of the lines, so that a line's number and offset need no room of their own; past a bound
they wait on disk, so that memory does not grow with the file.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from anytune.data.check import gather

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

MOST = 250_000
_NAMES = count()


class Row(NamedTuple):
    """Be one line: its number in the file from 1, its byte offset, its length without the line feed."""

    line: int
    offset: int
    length: int


class Scratch:
    """Be a folder that is made when it is first asked for, by whichever thread, and goes at the end."""

    def __init__(self) -> None:
        self._made: TemporaryDirectory[str] | None = None
        self._lock = Lock()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._made is not None:
            self._made.cleanup()

    @property
    def folder(self) -> Path:
        """Return the folder."""
        import tempfile  # few files need it

        with self._lock:
            self._made = self._made or tempfile.TemporaryDirectory(prefix="anytune-")
        return Path(self._made.name)


class Rows:
    """Collect keys and lengths of lines, in memory as long as they are few; `scratch` takes them when they are many."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._before: list[_Piece | _Spilled] = []
        self._sizes: Counter[int] | None = None
        self._last = _Piece(array("q"), array("q"))
        self.number = 0

    def add(self, keys: Iterable[int], lengths: Iterable[int]) -> None:
        """Append the keys of some lines (0 where there is nothing to compare) and their lengths."""
        self._sizes, before = None, len(self._last.keys)
        self._last.keys.extend(keys)
        self._last.lengths.extend(lengths)
        self.number += len(self._last.keys) - before
        if len(self._last.keys) > MOST:
            self._close()
            self._spill()

    def merge(self, other: Rows) -> None:
        """Append the rows of the part that follows, which is not used any more."""
        self._close()
        other._close()
        self._sizes = None
        self._before += other._before
        self.number += other.number
        if sum(len(piece.keys) for piece in self._before if isinstance(piece, _Piece)) > MOST:
            self._spill()

    def pieces(self) -> Iterator[tuple[array[int], array[int]]]:
        """Yield keys and lengths in the order of the lines, piece by piece."""
        self._join()
        for piece in self._before:
            yield piece if isinstance(piece, _Piece) else _Piece(*map(_read, piece))

    def key_pieces(self) -> Iterator[array[int]]:
        """Yield the keys alone in the order of the lines, piece by piece."""
        self._join()
        for piece in self._before:
            yield piece.keys if isinstance(piece, _Piece) else _read(piece.keys)

    def sizes(self) -> Counter[int]:
        """Count the lengths of the lines that hold a record."""
        if self._sizes is None:
            self._sizes = Counter()
            for keys, lengths in self.pieces():
                self._sizes.update(gather.sizes(keys, lengths))
        return self._sizes

    def _close(self) -> None:
        """Begin another piece."""
        if self._last.keys:
            self._before.append(self._last)
            self._last = _Piece(array("q"), array("q"))

    def _join(self) -> None:
        """Make one piece of those that stand together in memory."""
        self._close()
        apart, self._before = self._before, []
        for piece in apart:
            before = self._before[-1] if self._before else None
            if isinstance(piece, _Piece) and isinstance(before, _Piece):
                before.keys.extend(piece.keys)
                before.lengths.extend(piece.lengths)
            else:
                self._before.append(piece)

    def _spill(self) -> None:
        self._before = [
            piece.spill(self._scratch.folder) if isinstance(piece, _Piece) else piece for piece in self._before
        ]


class _Piece(NamedTuple):
    """Be keys and lengths of some lines in memory."""

    keys: array[int]
    lengths: array[int]

    def spill(self, folder: Path) -> _Spilled:
        stem = f"{os.getpid()}-{next(_NAMES)}"
        spilled = _Spilled(folder / f"{stem}.keys", folder / f"{stem}.lengths")
        for name, numbers in zip(spilled, self, strict=True):
            name.write_bytes(numbers)
        return spilled


class _Spilled(NamedTuple):
    """Be keys and lengths of some lines on disk."""

    keys: Path
    lengths: Path


def _read(path: Path) -> array[int]:
    numbers = array("q")
    with path.open("rb", buffering=0) as stream:
        numbers.fromfile(stream, path.stat().st_size // numbers.itemsize)
    return numbers
