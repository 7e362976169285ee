"""Read and write Alpaca records: an instruction, perhaps an input to it, and the output."""

from __future__ import annotations

from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.plain import plain_turns
from anytune.data.convert.shape import Record, text_of, unpacked
from anytune.data.path import Path

INPUTS = ("input", "context")
OUTPUTS = ("output", "response")
BETWEEN = "\n\n"


def read(record: Record, notes: Notes) -> Record:
    """Return the chat of an Alpaca record; instruction and input are joined by a blank line."""
    asked, known = asked_in(record, notes)
    output = next((key for key in OUTPUTS if key in record), None)
    if output is None:
        raise UnfitError("no-answer")
    notes.rest(record, (*known, output))
    answer = {"role": "assistant", "content": text_of(record[output], (output,), notes)}
    return {"messages": [*asked, answer]}


def asked_in(record: Record, notes: Notes) -> tuple[list[Record], tuple[str, ...]]:
    """Return the messages before the answer, and the keys that they were made of."""
    if "instruction" not in record:
        raise lacks("instruction")
    added = next((key for key in INPUTS if record.get(key)), "input")
    said = text_of(record["instruction"], ("instruction",), notes)
    if record.get(added):
        more = text_of(record[added], (added,), notes)
        said = f"{said}{BETWEEN}{more}" if said else more
    system = text_of(record["system"], ("system",), notes) if record.get("system") else None
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += _history(unpacked(record.get("history")), notes)
    return [*messages, {"role": "user", "content": said}], ("instruction", added, "system", "history")


def _history(history: object, notes: Notes) -> list[Record]:
    messages: list[Record] = []
    if history in (None, "", []):
        return messages
    if not isinstance(history, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in history):
        raise UnfitError("message-invalid", ("history",), history)
    for place, turn in enumerate(history):
        for side, role in enumerate(("user", "assistant")):
            path: Path = ("history", place, side)
            messages.append({"role": role, "content": text_of(turn[side], path, notes)})
    return messages


def write(record: Record, notes: Notes) -> Record:
    """Return a chat or a pair as an Alpaca record; what was an input once stays in the instruction."""
    turns = plain_turns(record, notes)
    made: Record = {"instruction": turns.asked, "input": ""}
    if len(turns.answers) > 1:
        made |= {"chosen": turns.answers[0], "rejected": turns.answers[1]}
    else:
        made["output"] = turns.answers[0]
    if turns.system is not None:
        made["system"] = turns.system
    return made | ({"history": [list(turn) for turn in turns.before]} if turns.before else {})
