"""Menders of tool calls and of the messages that answer them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.key import decoded
from anytune.data.fix.mender import Mender, Path, Record, Together


def fresh_ids(record: Record) -> Iterator[str]:
    """Yield those of call_1, call_2 … that stand nowhere in the record."""
    used = [call.get("id") for message in walk.messages(record) for call in walk.calls(message)]
    used += [message.get("tool_call_id") for message in walk.messages(record)]
    taken = {name for name in used if isinstance(name, str)}
    number = 0
    while True:
        number += 1
        if (name := f"call_{number}") not in taken:
            yield name


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


def _frame_calls(record: Record, paths: Sequence[Path]) -> list[str]:
    """Give calls their frame: id, type, and a function with arguments.

    A call without an id gets the first that a later message answers in vain, as long as there are any.
    """
    fresh = fresh_ids(record)
    vain: dict[int, Iterator[str]] = {}
    framed = 0
    for path in paths:
        place, said = walk.call_place(record, path), walk.message_place(record, path)
        call = place[0][place[1]] if place else None
        if place is None or said is None or not isinstance(call, dict):
            continue
        function = _function(call)
        if function is None:
            continue
        answered = vain.setdefault(id(place[0]), _answered_in_vain(*said))
        new = {"id": _id(call, answered, fresh), "type": "function", "function": {"arguments": "{}", **function}}
        if new != call and isinstance(new["id"], str):
            place[0][place[1]] = new
            framed += 1
    return [""] * framed


def _function(call: Record) -> Record | None:
    """Return the function of a call, which may lack its frame; None if it has none, or is something else."""
    function = call.get("function")
    if "function" not in call and isinstance(call.get("name"), str):
        function = {key: call[key] for key in ("name", "arguments") if key in call}
    is_call = isinstance(function, dict) and call.get("type", "function") in ("function", None)
    return function if is_call else None


def _id(call: Record, answered: Iterator[str], fresh: Iterator[str]) -> Any:
    given = call.get("id")
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return next(answered, None) or next(fresh) if given is None else given


def _answered_in_vain(messages: list[Any], place: int) -> Iterator[str]:
    """Yield the ids that the tool messages right after a message answer, but that none of its calls has."""
    told = [answer.get("tool_call_id") for answer in _answers(messages, place)]
    taken = _by(walk.calls(messages[place]), "id") if isinstance(messages[place], dict) else {}
    yield from (one for one in dict.fromkeys(one for one in told if isinstance(one, str)) if one not in taken)


def _answers(messages: list[Any], place: int) -> list[Record]:
    """Return the tool messages right after a message."""
    found: list[Record] = []
    for after in range(place + 1, len(messages)):
        message = messages[after]
        if not isinstance(message, dict) or message.get("role") != "tool":
            break
        found.append(message)
    return found


def _number_calls(record: Record, paths: Sequence[Path]) -> list[str]:
    """Give calls with one id an id each, and their answers in the same order, where there are as many or none."""
    fresh = fresh_ids(record)
    numbered: list[str] = []
    places = [place for path in paths if (place := walk.message_place(record, path)) is not None]
    for held, index in {(id(held), index): (held, index) for held, index in places}.values():
        same = _by(walk.calls(held[index]), "id") if isinstance(held[index], dict) else {}
        answers = _by(_answers(held, index), "tool_call_id")
        for name, calls in same.items():
            answered = answers.get(name, [])
            if len(calls) < 2 or len(answered) not in (0, len(calls)):
                continue
            for number in range(1, len(calls)):
                calls[number]["id"] = next(fresh)
                if answered:
                    answered[number]["tool_call_id"] = calls[number]["id"]
            numbered.append("")
    return numbered


def _by(given: list[Record], key: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for one in given:
        if isinstance(one.get(key), str):
            found.setdefault(one[key], []).append(one)
    return found


def _pair_answers(record: Record, paths: Sequence[Path]) -> list[str]:
    """Name the calls that tool messages answer, if the calls before them leave no doubt."""
    paired = 0
    looked_at: dict[int, int] = {}
    for path in reversed(paths):
        place, message = walk.message_place(record, path), walk.message(record, path)
        if place is None or message.get("role") != "tool":
            continue
        held, index = place
        given = message.get("tool_call_id")
        if isinstance(given, int) and not isinstance(given, bool):
            message["tool_call_id"] = str(given)
            paired += 1
        elif index < looked_at.get(id(held), len(held)):
            while index and _is_tool(held[index]):
                index -= 1
            looked_at[id(held)] = index
            paired += _pair(held, index)
    return [""] * paired


def _pair(messages: list[Any], asked: int) -> bool:
    """Name the open calls of a message in its answers that name none, if these are as many; tell whether they are."""
    answers = _answers(messages, asked)
    nameless = [answer for answer in answers if not isinstance(answer.get("tool_call_id"), str)]
    told = {one for answer in answers if isinstance(one := answer.get("tool_call_id"), str)}
    calls = walk.calls(messages[asked]) if isinstance(messages[asked], dict) else []
    still_open = [name for call in calls if not isinstance(name := call.get("id"), str) or name not in told]
    if not nameless or len(nameless) != len(still_open) or not all(isinstance(one, str) for one in still_open):
        return False
    for answer, name in zip(nameless, still_open, strict=True):
        answer["tool_call_id"] = name
    return True


def _is_tool(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "tool"


CALL_MENDERS = (
    Mender("tool-calls-invalid", "write the calls as a list, and none if there are none", _list_calls),
    Mender("tool-call-invalid", "write the call with id, type and function", Together(_frame_calls)),
    Mender("tool-call-id-missing", "name the call that the tool message answers", Together(_pair_answers)),
    Mender("tool-call-id-repeated", "give each call an id of its own", Together(_number_calls)),
)
