"""A key and a length for each line of a file: what is needed to compare records once all have been seen.

They are appended in the order of the lines, so that a line's number and offset need no room of their own; past a bound
they wait on disk, so that memory does not grow with the file.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import compress, count
from pathlib import Path
from threading import Lock
from typing import NamedTuple

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
        self._made: tempfile.TemporaryDirectory[str] | None = None
        self._lock = Lock()

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._made is not None:
            self._made.cleanup()

    @property
    def folder(self) -> Path:
        """Return the folder."""
        with self._lock:
            self._made = self._made or tempfile.TemporaryDirectory(prefix="anytune-")
        return Path(self._made.name)


class Rows:
    """Collect keys and lengths of lines, in memory as long as they are few; `scratch` takes them when they are many."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._spilled: list[tuple[Path, Path]] = []
        self._sizes: Counter[int] | None = None
        self.keys = array("q")
        self.lengths = array("q")

    def add(self, keys: Iterable[int], lengths: Iterable[int]) -> None:
        """Append the keys of some lines (0 where there is nothing to compare) and their lengths."""
        self._sizes = None
        self.keys.extend(keys)
        self.lengths.extend(lengths)
        if len(self.keys) > MOST:
            self._spill()

    def merge(self, other: Rows) -> None:
        """Append the rows of the part that follows; what both know of their sizes is kept."""
        sizes = self._sizes + other._sizes if self._sizes is not None and other._sizes is not None else None
        if other._spilled:
            self._spill()
            self._spilled += other._spilled
        self.add(other.keys, other.lengths)
        self._sizes = sizes

    def pieces(self) -> Iterator[tuple[array[int], array[int]]]:
        """Yield keys and lengths in the order of the lines, piece by piece."""
        for names in self._spilled:
            keys, lengths = array("q"), array("q")
            for name, numbers in zip(names, (keys, lengths), strict=True):
                numbers.frombytes(name.read_bytes())
            yield keys, lengths
        yield self.keys, self.lengths

    def sizes(self) -> Counter[int]:
        """Count the lengths of the lines that hold a record."""
        if self._sizes is None:
            self._sizes = Counter()
            for keys, lengths in self.pieces():
                self._sizes.update(compress(lengths, keys))
        return self._sizes

    def _spill(self) -> None:
        stem = f"{os.getpid()}-{next(_NAMES)}"
        folder = self._scratch.folder
        names = (folder / f"{stem}.keys", folder / f"{stem}.lengths")
        for name, numbers in zip(names, (self.keys, self.lengths), strict=True):
            name.write_bytes(numbers.tobytes())
        self._spilled.append(names)
        self.keys, self.lengths = array("q"), array("q")
