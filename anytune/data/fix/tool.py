"""Menders of tools, and of what their calls say."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.call import CALL_MENDERS
from anytune.data.fix.key import decoded
from anytune.data.fix.mender import Mender, Path, Record, Together
from anytune.data.quote import quote

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_LONGEST_LITERAL = 100_000  # characters; Python's parser takes a hundred times their memory


def literal(text: str) -> Any:
    """Return what Python's way to write an object stands for, None if it is none."""
    if len(text) > _LONGEST_LITERAL or not text.lstrip().startswith("{"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user's backslashes are no fault of this program
            value = ast.literal_eval(text.strip())
        json.dumps(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return value


def _list_tools(record: Record, path: Path) -> str | None:
    held, _ = walk.entry(record, path)
    given = decoded(held.get("tools"))
    if isinstance(given, dict):
        given = [given] if {"type", "function", "name"} & given.keys() else list(given.values())
    if not isinstance(given, list) or not all(isinstance(tool, dict) for tool in given):
        return None
    held["tools"] = given
    return ""


def _frame_tool(record: Record, path: Path) -> str | None:
    """Give a tool its frame: type and function, and parameters as an object."""
    place = walk.tool_place(record, path)
    tool = place[0][place[1]] if place else None
    if place is None or not isinstance(tool, dict):
        return None
    function = tool.get("function")
    if "function" not in tool and isinstance(tool.get("name"), str):
        function = {key: value for key, value in tool.items() if key != "type"}
    if not isinstance(function, dict) or tool.get("type", "function") not in ("function", None):
        return None
    function = {key: value for key, value in function.items() if value is not None}
    function |= {"parameters": decoded(function["parameters"])} if "parameters" in function else {}
    framed = {"type": "function", "function": function}
    if framed == tool:
        return None
    place[0][place[1]] = framed
    return ""


def _drop_same_tools(record: Record, paths: Sequence[Path]) -> list[str]:
    """Drop of the tools at the paths those that stand before in the same list."""
    found = [place for path in paths if (place := walk.tool_place(record, path)) is not None]
    dropped = 0
    for held in {id(held): held for held, _ in found}.values():
        repeated = {index for other, index in found if other is held}
        first: set[str] = set()
        kept = []
        for index, tool in enumerate(held):
            written = json.dumps(tool, sort_keys=True)
            if index not in repeated or written not in first:
                kept.append(tool)
            first.add(written)
        dropped += len(held) - len(kept)
        held[:] = kept
    return [""] * dropped


def _rename_functions(record: Record, paths: Sequence[Path]) -> list[str]:
    """Rename functions wherever the record names them; a new name hangs on the old one alone."""
    names = {function.get("name") for function in walk.functions(record) if isinstance(function.get("name"), str)}
    answers = (message for message in walk.messages(record) if message.get("role") == "tool")
    holders: dict[str, list[Record]] = {}
    for named in (*walk.functions(record), *answers):
        if isinstance(named.get("name"), str):
            holders.setdefault(named["name"], []).append(named)
    olds = (walk.at(record, path) for path in reversed(paths))
    done = []
    for old in dict.fromkeys(old for old in olds if isinstance(old, str)):
        new = _NOT_IN_A_NAME.sub("_", old)[:_LONGEST_NAME]
        if not _NAME.fullmatch(new) or new in names:
            continue
        for named in holders.get(old, ()):
            named["name"] = new
        names.add(new)
        done.append(f"{quote(old)} as {new}")
    return done


def _write_arguments(record: Record, path: Path) -> str | None:
    held, key = walk.entry(record, path)
    if not held or isinstance(held[key], str):
        return None
    given = held[key]
    held[key] = json.dumps({} if given is None else given, ensure_ascii=False)
    return ""


def _mend_arguments(record: Record, path: Path) -> str | None:
    """Write empty arguments as {}, and those that were put into a string twice only once."""
    held, key = walk.entry(record, path)
    given = held.get(key)
    if not isinstance(given, str):
        return None
    inner = "{}" if given.strip() in ("", "null") else decoded(given)
    if not isinstance(inner, str) or inner == given or not isinstance(decoded(inner), dict):
        return None
    held[key] = inner
    return ""


def _python_arguments(record: Record, path: Path) -> str | None:
    held, key = walk.entry(record, path)
    given = held.get(key)
    value = literal(given) if isinstance(given, str) else None
    if not isinstance(value, dict):
        return None
    held[key] = json.dumps(value, ensure_ascii=False)
    return ""


TOOL_MENDERS = (
    Mender("tools-not-a-list", "write the tools as a list", _list_tools),
    Mender("tool-invalid", 'write the tool as {"type": "function", "function": {…}}', _frame_tool),
    Mender("tool-repeated", "remove a tool that is declared twice in the same way", Together(_drop_same_tools)),
    *CALL_MENDERS,
    Mender("arguments-not-a-string", "write the arguments as JSON in a string", _write_arguments),
    Mender("arguments-not-json", "write empty or twice encoded arguments as JSON", _mend_arguments),
    Mender("arguments-not-json", "write arguments in Python's spelling as JSON", _python_arguments, asks=True),
    Mender("function-name-invalid", "rename the function", Together(_rename_functions), asks=True),
)
