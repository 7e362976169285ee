"""Read back what was written, so that a loss that nobody thought of is named, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from anytune.data.convert.loss import Notes, UnfitError
from anytune.data.convert.shape import Record
from anytune.data.path import Path

MOST_DIFFERENCES = 20
_IDS = ("id", "tool_call_id")
_decode = msgspec.json.Decoder().decode


def compare(record: Record, written: Record, read: Callable[[Record, Notes], Any], notes: Notes) -> None:
    """Note where the written record, read again, differs from the chat, but for what was noted before.

    Arguments of calls are compared as JSON: blanks between their tokens carry nothing.
    """
    try:
        back = read(written, Notes())
    except UnfitError as error:
        notes.lost("changed", (), error.note.what)
        return
    noted = [note.path for note in notes.found]
    for path, value in islice(_differences(record, back, ()), MOST_DIFFERENCES):
        if not any(path[: len(other)] == other[: len(path)] for other in noted):
            notes.lost("call-id-dropped" if path and path[-1] in _IDS else "changed", path, value)


def _differences(one: Any, other: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if key not in one or key not in other:
                yield (*path, key), one.get(key)
            else:
                yield from _differences(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, (*path, place))
    elif type(one) is not type(other) or (one != other and not (path[-1:] == ("arguments",) and _same(one, other))):
        yield path, one


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(_decode(one) == _decode(other))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
