"""Menders of one key, whatever it belongs to."""

from __future__ import annotations

import json
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.mender import Path, Record
from anytune.data.quote import quote

EXAMPLE = frozenset({"messages", "input", "prompt", "text"})
_SPEAKS = frozenset(
    {
        "system",
        "conversations",
        "messages",
        "from",
        "value",
        "text",
        "content",
        "tool_calls",
        "function_call",
        "refusal",
        "reasoning",
        "reasoning_content",
        "thinking",
    }
)


def drop(record: Record, path: Path) -> str | None:
    """Remove the key at the path's end."""
    held, key = walk.entry(record, path)
    if not held:
        return None
    del held[key]
    return quote(key)


def drop_null(record: Record, path: Path) -> str | None:
    """Remove the key at the path's end if it holds null."""
    held, key = walk.entry(record, path)
    return drop(record, path) if held and held[key] is None else None


def drop_unread(record: Record, path: Path) -> str | None:
    """Remove the key at the path's end unless it may be part of what somebody says."""
    held, key = walk.entry(record, path)
    return None if key in _SPEAKS and held.get(key) else drop(record, path)


def drop_beside(record: Record, path: Path) -> str | None:
    """Remove the key at the path's end if what it stands beside is an example; else it may be all there is."""
    return drop(record, path) if is_example(walk.at(record, path[:-1])) else None


def drop_unread_beside(record: Record, path: Path) -> str | None:
    """Remove the key at the path's end if it says nothing and what it stands beside is an example."""
    return drop_unread(record, path) if is_example(walk.at(record, path[:-1])) else None


def is_example(value: Any) -> bool:
    """Tell whether a value has one of the keys that hold an example in some format."""
    return isinstance(value, dict) and not EXAMPLE.isdisjoint(value)


def decoded(value: Any) -> Any:
    """Return what JSON text stands for, any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
