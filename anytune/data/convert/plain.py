"""Look at a chat as plain turns of text, for the formats that hold nothing else."""

from __future__ import annotations

from typing import NamedTuple

from anytune.data.convert.loss import Notes, UnfitError, named
from anytune.data.convert.shape import Record, is_pair, is_text
from anytune.data.path import Path

REASONING = ("reasoning", "reasoning_content")
OUTPUTS = ("preferred_output", "non_preferred_output")


class Turns(NamedTuple):
    """Be a conversation of text: what was said `before`, the last question, and one answer, or a better and a worse."""

    system: str | None
    before: tuple[tuple[str, str], ...]
    asked: str
    answers: tuple[str, ...]


def plain_turns(record: Record, notes: Notes) -> Turns:
    """Return the turns of a chat or a pair, having noted what text alone does not hold."""
    pair = is_pair(record)
    holder: Record = record["input"] if pair else record
    path: Path = ("input",) if pair else ()
    if is_text(record):
        raise UnfitError("turns-do-not-fit", ("text",), record["text"])
    if holder.get("tools"):
        raise UnfitError("holds-tools", (*path, "tools"), holder["tools"])
    beside(record, notes)
    texts = [_said(message, (*path, "messages", i), notes) for i, message in enumerate(holder["messages"])]
    answers = [_said(record[key][0], (key, 0), notes)[1] for key in OUTPUTS] if pair else []
    return _in_turn(texts, answers, (*path, "messages"))


def beside(record: Record, notes: Notes) -> None:
    """Note the keys beside the messages, which other formats do not know."""
    holders: list[tuple[Path, Record]] = [((), record)]
    if is_pair(record):
        holders.append((("input",), record["input"]))
    ours = ("input", *OUTPUTS) if is_pair(record) else ()
    for path, holder in holders:
        if "weight" in holder:
            notes.lost("weight-dropped", (*path, "weight"), holder["weight"])
        notes.rest(holder, ("messages", "tools", "weight", *(() if path else ours)), path)


def _in_turn(texts: list[tuple[str, str]], answers: list[str], path: Path) -> Turns:
    system = texts[0][1] if texts and texts[0][0] == "system" else None
    turns = texts if system is None else texts[1:]
    wanted = 1 if answers else 0
    if (
        not turns
        or len(turns) % 2 != wanted
        or any(r != ("user", "assistant")[i % 2] for i, (r, _) in enumerate(turns))
    ):
        raise UnfitError("turns-do-not-fit", path, named([role for role, _ in texts]))
    said = [text for _, text in turns]
    if not answers:
        answers = [said.pop()]
    return Turns(system, tuple(zip(said[:-1:2], said[1::2], strict=True)), said[-1], tuple(answers))


def _said(message: Record, path: Path, notes: Notes) -> tuple[str, str]:
    """Return who speaks and the text, or leave the record out."""
    if message["role"] == "tool" or message.get("tool_calls"):
        raise UnfitError("holds-tools", path, named([message["role"]]))
    content = message.get("content")
    if not isinstance(content, str):
        raise UnfitError("holds-parts", (*path, "content") if "content" in message else path, content)
    minor(message, path, notes)
    role = "system" if message["role"] == "developer" else message["role"]
    if role != message["role"]:
        notes.lost("role-renamed", (*path, "role"), message["role"])
    return role, content


def minor(message: Record, path: Path, notes: Notes, *, kept: tuple[str, ...] = ()) -> None:
    """Note what stands on a message beside its text and calls, but for the keys that are `kept`."""
    for key in REASONING:
        if message.get(key):
            notes.lost("reasoning-dropped", (*path, key), message[key])
    if "weight" in message and "weight" not in kept:
        notes.lost("weight-dropped", (*path, "weight"), message["weight"])
    notes.rest(message, ("role", "content", "tool_calls", "tool_call_id", "weight", *REASONING), path)
