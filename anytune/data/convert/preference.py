"""Read pairs of a better and a worse answer, as OpenAI, TRL and LLaMA-Factory write them, and write TRL's."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from anytune.data.convert import alpaca, chat
from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.partner import Half
from anytune.data.convert.plain import OUTPUTS
from anytune.data.convert.prompt import say_side
from anytune.data.convert.shape import Record, is_pair, messages_in, packed, text_of, unpacked
from anytune.data.convert.talk import Talk

OLD_OUTPUTS = ("preferred_completion", "non_preferred_completion")
SIDES = ("chosen", "rejected")
_LABELS = {"true": True, "1": True, "good": True, "false": False, "0": False, "bad": False}
_TURN = re.compile(r"\n\n(Human|Assistant): ?")
_LAST_WORD = re.compile(r"\s(?=\S*\Z)|\s+\Z")


def read(record: Record, notes: Notes) -> Record:
    """Return the pair of a record that OpenAI's keys name."""
    names = OUTPUTS if OUTPUTS[0] in record else OLD_OUTPUTS
    given = unpacked(record.get("input"))
    if given is None or any(name not in record for name in names):
        raise lacks("input", *names)
    asked = Talk(notes)
    holder: Record = given if isinstance(given, dict) else {}
    if holder:
        chat.say_all(holder.get("messages"), ("input", "messages"), asked)
        notes.rest(holder, ("messages", *chat.TOOLS, *chat.BESIDE), ("input",))
    else:
        say_side(given, "input", "user", asked)
    answers = [_side(record[name], name, notes) for name in names]
    made = _pair(asked.messages, answers, names)
    made["input"] = chat.with_tools(made["input"], holder, ("input",), notes)
    notes.rest(record, ("input", *names, "weight"))
    return made | {key: record[key] for key in ("weight",) if record.get(key) is not None}


def read_chosen(record: Record, notes: Notes) -> Record:
    """Return the pair of chosen and rejected, with the prompt beside them or as what both begin with."""
    if any(side not in record for side in SIDES):
        raise lacks(*SIDES)
    asked, known = _asked(record, notes)
    answers = [_side(record[side], side, notes) for side in SIDES]
    if not asked and all(isinstance(record[side], str) for side in SIDES):
        asked, answers = _common_text(record, notes)
    asked, answers = _common_messages(asked, answers)
    made = _pair(asked, answers, SIDES)
    made["input"] = chat.with_tools(made["input"], {k: v for k, v in record.items() if k != "weight"}, (), notes)
    notes.rest(record, (*known, *SIDES, *chat.TOOLS, *chat.BESIDE))
    return made | {key: record[key] for key in ("weight",) if record.get(key) is not None}


def half(record: Record, notes: Notes) -> Half:
    """Return one side of a pair: a prompt with a completion that was found good or bad."""
    label = record.get("label")
    good = label if isinstance(label, bool) else _LABELS.get(str(label).strip().lower())
    if good is None or "prompt" not in record or "completion" not in record:
        raise lacks("prompt", "completion", "label")
    asked = Talk(notes)
    if record.get("system"):
        asked.say("system", text_of(record["system"], ("system",), notes))
    say_side(record["prompt"], "prompt", "user", asked)
    answers = _side(record["completion"], "completion", notes)
    holder = chat.with_tools({"messages": asked.messages}, record, (), notes)
    notes.rest(record, ("prompt", "completion", "label", "system", *chat.TOOLS, *chat.BESIDE))
    key = hashlib.sha256(packed(holder).encode()).digest()
    return Half("kto", key, good, {"input": holder, "answers": answers})


def join(good: Record, bad: Record, notes: Notes) -> Record:
    """Return the pair of a good and a bad completion of one prompt."""
    del notes
    made = _pair(good["input"]["messages"], [good["answers"], bad["answers"]], ("completion", "completion"))
    return made | {"input": good["input"]}


def _asked(record: Record, notes: Notes) -> tuple[list[Record], tuple[str, ...]]:
    """Return the messages of the prompt beside the answers, none if there is no such thing."""
    if "instruction" in record:
        return alpaca.asked_in(record, notes)
    talk = Talk(notes)
    if record.get("system"):
        talk.say("system", text_of(record["system"], ("system",), notes))
    key = next((key for key in ("prompt", "question", "query", *chat.HOLDERS) if record.get(key)), None)
    if key is not None:
        say_side(record[key], key, "user", talk)
    return talk.messages, ("system", *((key,) if key else ()))


def _side(value: Any, key: str, notes: Notes) -> list[Record]:
    talk = Talk(notes)
    if isinstance(value, dict):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    messages = messages_in(value)
    if messages is None:
        talk.say("assistant", text_of(value, (key,), notes))
    else:
        chat.say_all(messages, (key,), talk)
    return talk.messages


def _common_messages(asked: list[Record], answers: list[list[Record]]) -> tuple[list[Record], list[list[Record]]]:
    """Move what both sides begin with into the prompt; a prompt that is repeated there stands once."""
    shortest, same = min(map(len, answers)) - 1, 0
    while same < shortest and answers[0][same] == answers[1][same]:
        same += 1
    if not same:
        return asked, answers
    common, rest = answers[0][:same], [answer[same:] for answer in answers]
    return (common if all(message in common for message in asked) else [*asked, *common]), rest


def _common_text(record: Record, notes: Notes) -> tuple[list[Record], list[list[Record]]]:
    texts = [str(record[side]) for side in SIDES]
    if all(_TURN.match(text) for text in texts):
        return [], [_transcript(text) for text in texts]
    length = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    words = _LAST_WORD.search(texts[0][:length])
    if words is None or not texts[0][: words.start()].strip():
        raise UnfitError("no-prompt", ("chosen",), record["chosen"])
    start = words.start()
    notes.lost("prompt-guessed", ("chosen",), texts[0][:start])
    answers = [[{"role": "assistant", "content": text[start:]}] for text in texts]
    return [{"role": "user", "content": texts[0][:start]}], answers


def _transcript(text: str) -> list[Record]:
    """Read a conversation that is written as one text with Human: and Assistant: before the turns."""
    _, *turns = _TURN.split(text)
    roles = ("user" if word == "Human" else "assistant" for word in turns[::2])
    return [{"role": role, "content": said} for role, said in zip(roles, turns[1::2], strict=True)]


def _pair(asked: list[Record], answers: list[list[Record]], names: tuple[str, str]) -> Record:
    if not asked:
        raise UnfitError("no-prompt", (names[0],), None)
    for name, answer in zip(names, answers, strict=True):
        if len(answer) != 1 or answer[0]["role"] != "assistant":
            raise UnfitError("output-not-one", (name,), answer)
    return {"input": {"messages": asked}, OUTPUTS[0]: answers[0], OUTPUTS[1]: answers[1]}


def write(record: Record, notes: Notes) -> Record:
    """Return a pair as TRL's conversational preference; chats and texts are TRL's already."""
    del notes
    if not is_pair(record):
        return record
    beside = {key: value for key, value in record["input"].items() if key != "messages"}
    weight = {"weight": record["weight"]} if "weight" in record else {}
    sides = {side: record[name] for side, name in zip(SIDES, OUTPUTS, strict=True)}
    return {"prompt": record["input"]["messages"], **sides, **beside, **weight}
