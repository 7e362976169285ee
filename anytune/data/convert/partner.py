"""Bring together records that are two halves of one, wherever they stand in the file."""

from __future__ import annotations

import tempfile
from typing import Generic, Literal, NamedTuple, TypeVar

import msgspec

from anytune.data.convert.loss import UnfitError
from anytune.data.convert.shape import Record

MOST_HELD = 50_000
_ON_DISK: Record = {}
_IN_MEMORY = 1 << 20
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Half(NamedTuple):
    """Be half of a record; it goes with the next one of the same kind and key on the other side."""

    kind: Literal["kto", "batch"]
    key: bytes
    first: bool
    value: Record

    @property
    def left_over(self) -> str:
        """Name the loss if the other half never comes."""
        if self.kind == "kto":
            return "unpaired"
        return "no-answer" if self.first else "request-missing"


class Held(NamedTuple, Generic[T]):
    """Be a half that waits, its value on disk, with what its owner needs to go on."""

    half: Half
    owner: T
    start: int
    length: int


class Partners(Generic[T]):
    """Hold at most so many halves that wait, oldest first: their keys in memory, what they say in a nameless file."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self._turn = self._oldest = self._end = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  gone with its owner
        self._waiting: dict[int, Held[T]] = {}
        self._by_key: dict[tuple[str, bytes, bool], list[int]] = {}

    def take(self, half: Half) -> Held[T] | None:
        """Return the oldest half that this one goes with, which waits no longer, None if there is none."""
        turns = self._by_key.get((half.kind, half.key, not half.first))
        return self._remove(turns[0]) if turns else None

    def value(self, held: Held[T]) -> Record:
        """Return what a half said."""
        self._file.seek(held.start)
        value: Record = _decode(self._file.read(held.length))
        return value

    def hold(self, half: Half, owner: T) -> Held[T] | None:
        """Let a half wait, and return the one for which there is no more room, if so."""
        try:
            said = _encode(half.value)
        except (TypeError, ValueError) as error:
            raise UnfitError("not-encodable") from error
        self._file.seek(self._end)
        self._file.write(said)
        self._waiting[self._turn] = Held(half._replace(value=_ON_DISK), owner, self._end, len(said))
        self._by_key.setdefault((half.kind, half.key, half.first), []).append(self._turn)
        self._turn += 1
        self._end += len(said)
        if len(self._waiting) <= self._most:
            return None
        while self._oldest not in self._waiting:
            self._oldest += 1
        return self._remove(self._oldest)

    def rest(self) -> list[Held[T]]:
        """Return all that still wait."""
        return list(self._waiting.values())

    def _remove(self, turn: int) -> Held[T]:
        held = self._waiting.pop(turn)
        place = (held.half.kind, held.half.key, held.half.first)
        self._by_key[place].pop(0)  # both orders are those of the file, so the oldest of all is the oldest here
        if not self._by_key[place]:
            del self._by_key[place]
        return held
