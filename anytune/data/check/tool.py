"""Check tools, tool calls and the pairing of calls with their answers."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from anytune.data.check.fault import Fault, Path
from anytune.data.check.rules.base import OUR_TRAINER
from anytune.data.quote import Plain

_OF_A_FUNCTION = (("description", str, "text"), ("parameters", dict, "an object"), ("strict", bool, "true or false"))
_MOST_FUNCTIONS = 128
_WITH_IDS = ("openai", "together", "azure", "nebius", *OUR_TRAINER)  # Fireworks documents calls without
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_tools(tools: Any, path: Path, out: list[Fault]) -> set[str]:
    """Check the declared functions and return their names."""
    names: set[str] = set()
    if not isinstance(tools, list):
        out.append(Fault("tools-not-a-list", path, tools))
        return names
    for place, tool in enumerate(tools):
        at = (*path, place)
        name = _tool_name(tool, at, out)
        if name is not None and name in names:
            out.append(Fault("tool-repeated", (*at, "function", "name"), name))
        if name is not None:
            names.add(name)
    return names


def _tool_name(tool: Any, at: Path, out: list[Fault]) -> str | None:
    function = _function(tool, at, "tool-invalid", out)
    if function is None:
        return None
    for key, kind, wanted in _OF_A_FUNCTION:
        if function.get(key) is not None and not isinstance(function[key], kind):
            out.append(Fault("tool-invalid", (*at, "function", key), Plain(f"one whose {key} is not {wanted}")))
    return _name(function, (*at, "function"), "tool-invalid", out)


def _function(holder: Any, at: Path, code: str, out: list[Fault]) -> dict[str, Any] | None:
    """Return the function of a tool or of a call, having told what is wrong with its frame."""
    if not isinstance(holder, dict):
        out.append(Fault(code, at, holder))
        return None
    if "type" not in holder:
        out.append(Fault(code, at, Plain('one without "type": "function"')))
    elif holder["type"] != "function":
        out.append(Fault(code, (*at, "type"), Plain('one whose type is not "function"')))
    if "function" not in holder:
        out.append(Fault(code, at, Plain("one without function")))
        return None
    function = holder["function"]
    if not isinstance(function, dict):
        out.append(Fault(code, (*at, "function"), Plain("one whose function is not an object")))
        return None
    return function


def _name(function: dict[str, Any], at: Path, code: str, out: list[Fault]) -> str | None:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        where = (*at, "name") if "name" in function else at
        out.append(Fault(code, where, Plain("one whose function has no name")))
        return None
    if not _NAME.fullmatch(name):
        out.append(Fault("function-name-invalid", (*at, "name"), name))
    return name


def check_functions(functions: Any, path: Path, out: list[Fault]) -> None:
    """Check the functions of the old form of tools."""
    if not isinstance(functions, list) or not 1 <= len(functions) <= _MOST_FUNCTIONS:
        said = f"functions has {len(functions)} entries" if isinstance(functions, list) else "functions is not a list"
        out.append(Fault("functions-invalid", path, Plain(said)))
        return
    for place, function in enumerate(functions):
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            where = (*path, place, "name") if isinstance(function, dict) and "name" in function else (*path, place)
            out.append(Fault("functions-invalid", where, Plain("a function without a name")))


def check_old_call(call: Any, path: Path, out: list[Fault]) -> None:
    """Check a call of the old form of tools."""
    if not isinstance(call, dict):
        out.append(Fault("functions-invalid", path, Plain("function_call is not an object")))
        return
    for key in ("name", "arguments"):
        if not isinstance(call.get(key), str):
            said = Plain(f"a function_call whose {key} is not text")
            out.append(Fault("functions-invalid", (*path, key) if key in call else path, said))


def check_calls(message: dict[str, Any], path: Path, declared: set[str], out: list[Fault]) -> None:
    """Check the calls of one assistant message."""
    calls = message["tool_calls"]
    path = (*path, "tool_calls")
    if not isinstance(calls, list) or not calls:
        among = ("openai", "azure") if calls == [] else None  # elsewhere no calls are none
        out.append(Fault("tool-calls-invalid", path, calls, among=among))
        return
    for place, call in enumerate(calls):
        if _is_faultless(call, declared):
            continue
        at = (*path, place)
        if isinstance(call, dict) and not isinstance(call.get("id"), str):
            where, who = ((*at, "id"), None) if "id" in call else (at, _WITH_IDS)
            out.append(Fault("tool-call-invalid", where, Plain("one without an id that is text"), among=who))
        function = _function(call, at, "tool-call-invalid", out)
        if function is not None:
            _call(function, (*at, "function"), declared, out)


def _is_faultless(call: Any, declared: set[str]) -> bool:
    """Tell quickly of a call that there is nothing to say of it: a record may have very many."""
    function = call.get("function") if call.__class__ is dict else None
    if function.__class__ is not dict or call.get("type") != "function" or call.get("id").__class__ is not str:
        return False
    name, arguments = function.get("name"), function.get("arguments")
    if name.__class__ is not str or name not in declared or not _NAME.fullmatch(name):
        return False
    return arguments.__class__ is str and is_object(arguments)


def _call(function: dict[str, Any], at: Path, declared: set[str], out: list[Fault]) -> None:
    name = _name(function, at, "tool-call-invalid", out)
    if name is not None and name not in declared:
        out.append(Fault("tool-undeclared", (*at, "name"), name))
    arguments = function.get("arguments")
    if "arguments" not in function:
        out.append(Fault("tool-call-invalid", at, Plain("one whose function has no arguments")))
    elif not isinstance(arguments, str):
        out.append(Fault("arguments-not-a-string", (*at, "arguments"), arguments))
        if not isinstance(arguments, dict):  # local templates take an object, but nothing else
            out.append(Fault("arguments-not-json", (*at, "arguments"), arguments, among=OUR_TRAINER))
    elif not is_object(arguments):
        out.append(Fault("arguments-not-json", (*at, "arguments"), arguments))


def is_object(text: str) -> bool:
    """Tell whether a text is the JSON of an object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def check_pairing(messages: list[Any], path: Path, out: list[Fault]) -> None:
    """Check that each call is answered before the conversation goes on; only the very last may stay open."""
    open_calls: dict[str, int] = {}
    asked: Path = path
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        at = (*path, place)
        if message.get("role") == "tool":
            _answer(message, at, open_calls, out)
            continue
        _unanswered(open_calls, asked, out)
        asked = (*at, "tool_calls")
        open_calls = _calls(message, asked, out) if message.get("role") == "assistant" else {}
    if isinstance(messages[-1], dict) and messages[-1].get("role") == "tool":
        _unanswered(open_calls, asked, out)


def _unanswered(open_calls: dict[str, int], asked: Path, out: list[Fault]) -> None:
    out.extend(Fault("tool-call-unanswered", (*asked, place, "id"), name) for name, place in open_calls.items())


def _answer(message: dict[str, Any], at: Path, open_calls: dict[str, int], out: list[Fault]) -> None:
    answered = message.get("tool_call_id")
    if not isinstance(answered, str):
        out.append(Fault("tool-call-id-missing", (*at, "tool_call_id") if "tool_call_id" in message else at))
        open_calls.clear()  # which one it answers cannot be told
    elif open_calls.pop(answered, None) is None:
        out.append(Fault("tool-call-id-unknown", (*at, "tool_call_id"), answered))


def _calls(message: dict[str, Any], path: Path, out: list[Fault]) -> dict[str, int]:
    """Return the places of the calls of a message by their ids."""
    calls = message.get("tool_calls")
    found: dict[str, int] = {}
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        name = call.get("id") if isinstance(call, dict) else None
        if isinstance(name, str):
            if name in found:
                out.append(Fault("tool-call-id-repeated", (*path, place, "id"), name))
            found[name] = place
    return found
