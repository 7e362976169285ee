"""Remember what was seen in eight bytes each."""

from __future__ import annotations

import hashlib
from array import array

_FIRST_SIZE = 1 << 12


class Seen:
    """Hold hashes in an open table of 64-bit numbers, at most two thirds full: 12 to 24 bytes for each."""

    def __init__(self) -> None:
        self._table = _empty(_FIRST_SIZE)
        self._count = 0

    def add(self, content: bytes) -> bool:
        """Take in a content and tell whether it was new; two contents look alike in one of 2^64 cases."""
        digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1  # 0 is an empty place
        place = self._place(digest)
        if self._table[place]:
            return False
        self._table[place] = digest
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def _place(self, digest: int) -> int:
        table, mask = self._table, len(self._table) - 1
        place = digest & mask
        while table[place] and table[place] != digest:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        before, self._table = self._table, _empty(2 * len(self._table))
        for digest in before:
            if digest:
                self._table[self._place(digest)] = digest


def _empty(size: int) -> array[int]:
    return array("Q", bytes(8 * size))
