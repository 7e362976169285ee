"""Menders of a record's shape: its format, its top-level keys, and the two sides of a pair."""

from __future__ import annotations

from anytune.data.convert.chat import HOLDERS
from anytune.data.fix import walk
from anytune.data.fix.key import decoded, drop, drop_beside, drop_null, drop_unread_beside
from anytune.data.fix.mender import Mender, Path, Record
from anytune.data.quote import quote

_CHAT_KEYS = (*HOLDERS[1:], "message", "mesages", "messsages", "message_list")
_INPUT_KEYS = ("messages", "tools", "parallel_tool_calls", "functions")
_OLD_OUTPUTS = {"preferred_completion": "preferred_output", "non_preferred_completion": "non_preferred_output"}
_SWITCH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def _take_in_system(record: Record, path: Path) -> str | None:
    """Make a system message of a system prompt that stands beside the messages, as Anthropic writes it."""
    held, key = walk.entry(record, path)
    messages, text = held.get("messages"), held.get("system")
    if key != "system" or not isinstance(messages, list) or not isinstance(text, str):
        return None
    if any(isinstance(one, dict) and one.get("role") == "system" for one in messages):
        return None
    del held["system"]
    if text.strip():
        messages.insert(0, {"role": "system", "content": text})
    return ""


def _rename_messages(record: Record, path: Path) -> str | None:
    held = walk.at(record, path)
    for key in _CHAT_KEYS:
        messages = held.get(key) if isinstance(held, dict) else None
        if isinstance(messages, list) and messages and all(isinstance(one, dict) for one in messages):
            held["messages"] = held.pop(key)
            return quote(key)
    return None


def _list_messages(record: Record, path: Path) -> str | None:
    held, _ = walk.entry(record, path)
    messages = decoded(held.get("messages"))
    if isinstance(messages, dict) and "role" in messages:
        messages = [messages]
    if not isinstance(messages, list):
        return None
    held["messages"] = messages
    return ""


def _rename_outputs(record: Record, _: Path) -> str | None:
    renamed = [old for old, new in _OLD_OUTPUTS.items() if old in record and new not in record]
    for old in renamed:
        record[_OLD_OUTPUTS[old]] = record.pop(old)
    return "" if renamed else None


def _gather_input(record: Record, _: Path) -> str | None:
    """Put messages and tools that stand beside the outputs into input."""
    outputs = {*walk.OUTPUTS, *_OLD_OUTPUTS}
    if "input" in record or not outputs & record.keys() or not isinstance(record.get("messages"), list):
        return None
    record["input"] = {key: record.pop(key) for key in _INPUT_KEYS if key in record}
    return ""


def _wrap_input(record: Record, _: Path) -> str | None:
    given = record.get("input")
    if isinstance(given, str) and given.strip():
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return None
    record["input"] = {"messages": given}
    return ""


def _wrap_output(record: Record, path: Path) -> str | None:
    held, key = walk.entry(record, path)
    given = held.get(key)
    if isinstance(given, str) and given.strip():
        given = {"role": "assistant", "content": given}
    if not isinstance(given, dict):
        return None
    held[key] = [given]
    return quote(key)


def _say_assistant(record: Record, path: Path) -> str | None:
    said = walk.message(record, path)
    if not said:
        return None
    before, said["role"] = said.get("role"), "assistant"
    return quote(before)


def _number_weight(record: Record, _: Path) -> str | None:
    weight = record.get("weight")
    try:
        number = float(weight) if isinstance(weight, str | bool) else -1.0
    except ValueError:
        return None
    if not 0 <= number < float("inf"):
        return None
    record["weight"] = int(number) if number.is_integer() else number
    return quote(weight)


def _drop_weight_of_one(record: Record, path: Path) -> str | None:
    return drop(record, path) if record.get("weight") in (None, 1) else None


def _switch(record: Record, path: Path) -> str | None:
    held, key = walk.entry(record, path)
    given = held.get(key)
    word = str(given).strip().lower() if isinstance(given, str | int) else ""
    if word not in _SWITCH:
        return None
    held[key] = _SWITCH[word]
    return quote(given)


SHAPE_MENDERS = (
    Mender("wrong-method", "put the messages beside the outputs into input", _gather_input),
    Mender("messages-missing", "write the key as messages", _rename_messages),
    Mender("messages-not-a-list", "write messages as a list", _list_messages),
    Mender("output-missing", "write the keys preferred_output and non_preferred_output", _rename_outputs),
    Mender("input-missing", "put the messages beside the outputs into input", _gather_input),
    Mender("input-invalid", "write input as an object with messages", _wrap_input),
    Mender("output-invalid", "write the output as a list with one message", _wrap_output),
    Mender("output-not-assistant", "write the output's role as assistant", _say_assistant, asks=True),
    Mender("null-key", "remove keys that hold null", drop_null),
    Mender("record-key-unknown", "make the system prompt beside the messages a system message", _take_in_system),
    Mender("record-key-unknown", "remove keys that nobody reads", drop_unread_beside),
    Mender("record-key-unknown", "remove keys that nobody reads but that say something", drop_beside, asks=True),
    Mender("sample-weight-invalid", "remove a weight of null", drop_null),
    Mender("sample-weight-invalid", "write the record's weight as a number", _number_weight),
    Mender("sample-weight-invalid", "remove the record's weight, so that it counts as 1", drop, asks=True),
    Mender("sample-weight", "remove the record's weight of 1, which changes nothing", _drop_weight_of_one),
    Mender("sample-weight", "remove the record's weight, so that it counts as 1", drop, asks=True),
    Mender("parallel-tool-calls-invalid", "write the switch as true or false", _switch),
    Mender("parallel-tool-calls-invalid", "remove the switch", drop, asks=True),
)
