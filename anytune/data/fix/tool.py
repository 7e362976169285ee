"""Menders of tools, tool calls and their answers."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.key import decoded
from anytune.data.fix.mender import Mender, Path, Record
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


def fresh_id(record: Record) -> str:
    """Return the first of call_1, call_2 … that stands nowhere in the record."""
    used = [call.get("id") for message in walk.messages(record) for call in walk.calls(message)]
    used += [message.get("tool_call_id") for message in walk.messages(record)]
    taken = {name for name in used if isinstance(name, str)}
    number = 1
    while f"call_{number}" in taken:
        number += 1
    return f"call_{number}"


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


def _drop_same_tool(record: Record, path: Path) -> str | None:
    place = walk.tool_place(record, path)
    if place is None or place[0][place[1]] not in place[0][: place[1]]:
        return None
    del place[0][place[1]]
    return ""


def _rename_function(record: Record, path: Path) -> str | None:
    """Rename a function wherever the record names it; the new name hangs on the old one alone."""
    old = walk.at(record, path)
    new = _NOT_IN_A_NAME.sub("_", old)[:_LONGEST_NAME] if isinstance(old, str) else ""
    names = {function.get("name") for function in walk.functions(record) if isinstance(function.get("name"), str)}
    if not _NAME.fullmatch(new) or new in names:
        return None
    answers = [message for message in walk.messages(record) if message.get("role") == "tool"]
    for named in (*walk.functions(record), *answers):
        if named.get("name") == old:
            named["name"] = new
    return f"{quote(old)} as {new}"


def _list_calls(record: Record, path: Path) -> str | None:
    held, _ = walk.entry(record, path)
    given = decoded(held.get("tool_calls"))
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, list) or not held:
        return None
    if given:
        held["tool_calls"] = given
    else:
        del held["tool_calls"]
    return ""


def _frame_call(record: Record, path: Path) -> str | None:
    """Give a call its frame: id, type, and a function with arguments."""
    place = walk.call_place(record, path)
    call = place[0][place[1]] if place else None
    if place is None or not isinstance(call, dict):
        return None
    function = call.get("function")
    if "function" not in call and isinstance(call.get("name"), str):
        function = {key: call[key] for key in ("name", "arguments") if key in call}
    if not isinstance(function, dict) or call.get("type", "function") not in ("function", None):
        return None
    framed = {"id": _id(record, path, call), "type": "function", "function": {"arguments": "{}", **function}}
    if framed == call or not isinstance(framed["id"], str):
        return None
    place[0][place[1]] = framed
    return ""


def _id(record: Record, path: Path, call: Record) -> Any:
    """Return a call's id as text; one that is missing is the first that a later message answers in vain."""
    given = call.get("id")
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if given is not None:
        return given
    place = walk.message_place(record, path)
    taken = [one.get("id") for one in walk.calls(walk.message(record, path))]
    answers = _answers(place[0], place[1]) if place else []
    asked = [answer.get("tool_call_id") for answer in answers]
    return next((one for one in asked if isinstance(one, str) and one not in taken), fresh_id(record))


def _answers(messages: list[Any], place: int) -> list[Record]:
    """Return the tool messages right after a message."""
    found: list[Record] = []
    for message in messages[place + 1 :]:
        if not isinstance(message, dict) or message.get("role") != "tool":
            break
        found.append(message)
    return found


def _number_calls(record: Record, path: Path) -> str | None:
    """Give calls with one id an id each, and their answers in the same order, where there are as many or none."""
    place, message = walk.message_place(record, path), walk.message(record, path)
    name = walk.at(record, path)
    same = [call for call in walk.calls(message) if call.get("id") == name]
    answers = [a for a in (_answers(*place) if place else []) if a.get("tool_call_id") == name]
    if not isinstance(name, str) or len(same) < 2 or len(answers) not in (0, len(same)):
        return None
    for number in range(1, len(same)):
        same[number]["id"] = fresh_id(record)
        if answers:
            answers[number]["tool_call_id"] = same[number]["id"]
    return ""


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


def _pair_answer(record: Record, path: Path) -> str | None:
    """Name the call that a tool message answers, if the calls before it leave no doubt."""
    place, message = walk.message_place(record, path), walk.message(record, path)
    if place is None or message.get("role") != "tool":
        return None
    given = message.get("tool_call_id")
    if isinstance(given, int) and not isinstance(given, bool):
        message["tool_call_id"] = str(given)
        return ""
    held, asked = place[0], place[1]
    while asked and _is_tool(held[asked]):
        asked -= 1
    answers = _answers(held, asked)
    nameless = [answer for answer in answers if not isinstance(answer.get("tool_call_id"), str)]
    told = [answer.get("tool_call_id") for answer in answers]
    calls = walk.calls(held[asked]) if isinstance(held[asked], dict) else []
    still_open = [call.get("id") for call in calls if call.get("id") not in told]
    if not nameless or len(nameless) != len(still_open) or not all(isinstance(one, str) for one in still_open):
        return None
    for answer, name in zip(nameless, still_open, strict=True):
        answer["tool_call_id"] = name
    return ""


def _is_tool(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "tool"


TOOL_MENDERS = (
    Mender("tools-not-a-list", "write the tools as a list", _list_tools),
    Mender("tool-invalid", 'write the tool as {"type": "function", "function": {…}}', _frame_tool),
    Mender("tool-repeated", "remove a tool that is declared twice in the same way", _drop_same_tool),
    Mender("tool-calls-invalid", "write the calls as a list, and none if there are none", _list_calls),
    Mender("tool-call-invalid", "write the call with id, type and function", _frame_call),
    Mender("tool-call-id-missing", "name the call that the tool message answers", _pair_answer),
    Mender("tool-call-id-repeated", "give each call an id of its own", _number_calls),
    Mender("arguments-not-a-string", "write the arguments as JSON in a string", _write_arguments),
    Mender("arguments-not-json", "write empty or twice encoded arguments as JSON", _mend_arguments),
    Mender("arguments-not-json", "write arguments in Python's spelling as JSON", _python_arguments, asks=True),
    Mender("function-name-invalid", "rename the function", _rename_function, asks=True),
)
