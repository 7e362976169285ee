"""Find the way within a record by the paths that the check names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from anytune.data.fix.mender import Path, Record

OUTPUTS = ("preferred_output", "non_preferred_output")
_MESSAGE_LISTS = ("messages", *OUTPUTS)
Place = tuple[list[Any], int]


def at(record: Record, path: Path) -> Any:
    """Return the value at a path, None if it does not lead anywhere."""
    value: Any = record
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def entry(record: Record, path: Path) -> tuple[Record, str]:
    """Return the object that holds the key at the path's end, and that key; an empty object if there is none."""
    found = at(record, path[:-1]) if path else None
    key = path[-1] if path else None
    return (found, key) if isinstance(found, dict) and isinstance(key, str) and key in found else ({}, "")


def message_place(record: Record, path: Path) -> Place | None:
    """Return the list of messages and the index of the message that a path leads into."""
    return next((place for key in _MESSAGE_LISTS if (place := _place(record, path, key))), None)


def message(record: Record, path: Path) -> Record:
    """Return the message that a path leads into, an empty one if it is no object."""
    return _object(message_place(record, path))


def part_place(record: Record, path: Path) -> Place | None:
    """Return the list of parts and the index of the part that a path leads into."""
    return _place(record, path, "content")


def part(record: Record, path: Path) -> Record:
    """Return the part that a path leads into, an empty one if it is no object."""
    return _object(part_place(record, path))


def call_place(record: Record, path: Path) -> Place | None:
    """Return the list of calls and the index of the call that a path leads into."""
    return _place(record, path, "tool_calls")


def tool_place(record: Record, path: Path) -> Place | None:
    """Return the list of tools and the index of the tool that a path leads into."""
    return _place(record, path, "tools")


def conversations(record: Record) -> list[Record]:
    """Return the objects of a record that hold a list of messages."""
    held = (record, record.get("input"))
    return [one for one in held if isinstance(one, dict) and isinstance(one.get("messages"), list)]


def messages(record: Record) -> Iterator[Record]:
    """Yield every message of a record that is an object."""
    lists = [one["messages"] for one in conversations(record)]
    lists += [record[key] for key in OUTPUTS if isinstance(record.get(key), list)]
    yield from (one for held in lists for one in held if isinstance(one, dict))


def calls(message: Record) -> list[Record]:
    """Return the calls of a message that are objects."""
    held = message.get("tool_calls")
    return [call for call in held if isinstance(call, dict)] if isinstance(held, list) else []


def functions(record: Record) -> Iterator[Record]:
    """Yield the function of every tool and of every call in a record."""
    held = [call for one in messages(record) for call in calls(one)]
    for one in (record, record.get("input")):
        tools = one.get("tools") if isinstance(one, dict) else None
        held += [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    yield from (one["function"] for one in held if isinstance(one.get("function"), dict))


def _place(record: Record, path: Path, key: str) -> Place | None:
    """Follow a path up to the index after a key."""
    for end, (step, index) in enumerate(pairwise(path), start=1):
        if step == key and isinstance(index, int):
            found = at(record, path[:end])
            return (found, index) if isinstance(found, list) and index < len(found) else None
    return None


def _object(place: Place | None) -> Record:
    found = place[0][place[1]] if place else None
    return found if isinstance(found, dict) else {}
