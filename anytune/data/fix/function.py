"""Write the old form of tools (functions, function_call, role function) in the new one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.call import fresh_ids
from anytune.data.fix.mender import Mender, Path, Record, once


def _modernise(record: Record, _: Path) -> str | None:
    """Rewrite the whole record at its first fault; the ids are made up in the order of the calls."""
    changed = False
    fresh = fresh_ids(record)
    for one in (record, record.get("input")):
        if isinstance(one, dict) and "functions" in one:
            changed |= _tools(one)
    for said in _lists(record):
        waiting: dict[Any, list[str]] = {}
        for message in said:
            if message.get("role") == "function":
                changed |= _answer(message, waiting)
            elif "function_call" in message:
                changed |= _call(message, fresh, waiting)
    return "" if changed else None


def _lists(record: Record) -> list[list[Record]]:
    lists = [one["messages"] for one in walk.conversations(record)]
    lists += [record[key] for key in walk.OUTPUTS if isinstance(record.get(key), list)]
    return [[message for message in said if isinstance(message, dict)] for said in lists]


def _tools(held: Record) -> bool:
    """Move the functions among the tools; a tool that is there already is not declared again."""
    given = held["functions"]
    if given is not None and not (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
        return False
    tools = held.get("tools")
    if tools is not None and not isinstance(tools, list):
        return False
    declared = {json.dumps(tool, sort_keys=True) for tool in tools or ()}
    made = ({"type": "function", "function": one} for one in given or ())
    moved = [tool for tool in made if json.dumps(tool, sort_keys=True) not in declared]
    del held["functions"]
    if moved:
        held["tools"] = [*(tools or ()), *moved]
    return True


def _call(message: Record, fresh: Iterator[str], waiting: dict[Any, list[str]]) -> bool:
    function = message["function_call"]
    if function is None:
        del message["function_call"]
        return True
    if not isinstance(function, dict) or message.get("tool_calls"):
        return False
    name = next(fresh)
    del message["function_call"]
    message["tool_calls"] = [{"id": name, "type": "function", "function": function}]
    waiting.setdefault(_plain(function.get("name")), []).append(name)
    return True


def _answer(message: Record, waiting: dict[Any, list[str]]) -> bool:
    """Make a tool message of the answer to the last open call of this function."""
    names = waiting.get(_plain(message.get("name")))
    if not names:
        return False
    message["role"] = "tool"
    message["tool_call_id"] = names.pop()
    if message.get("content") is None:
        message["content"] = ""
    return True


def _plain(name: Any) -> str:
    return name if isinstance(name, str) else ""


FUNCTION_MENDERS = (
    Mender("functions-deprecated", "write functions and their calls as tools and tool calls", once(_modernise)),
)
