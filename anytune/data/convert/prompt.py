"""Read and write a prompt with its completion, questions with answers, and plain text."""

from __future__ import annotations

from anytune.data.convert import chat
from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.plain import plain_turns
from anytune.data.convert.shape import Record, is_pair, is_text, messages_in, text_of
from anytune.data.convert.talk import Talk

PAIRS = (
    ("question", "answer"),
    ("prompt", "response"),
    ("query", "response"),
    ("query", "answer"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("input", "output"),
    ("input", "target"),
)
_SYSTEMS = ("system", "system_prompt")


def read(record: Record, notes: Notes) -> Record:
    """Return the chat of a prompt and its completion, each a text or a list of messages."""
    return _read(record, ("prompt", "completion"), notes)


def read_question(record: Record, notes: Notes) -> Record:
    """Return the chat of a question and its answer under one of the names in PAIRS."""
    names = next((pair for pair in PAIRS if all(name in record for name in pair)), None)
    if names is None:
        raise lacks("question", "answer")
    return _read(record, names, notes)


def read_text(record: Record, notes: Notes) -> Record:
    """Return plain text as it is."""
    if "text" not in record:
        raise lacks("text")
    notes.rest(record, ("text",))
    return {"text": text_of(record["text"], ("text",), notes)}


def _read(record: Record, names: tuple[str, str], notes: Notes) -> Record:
    if names[0] not in record:
        raise lacks(*names)
    if names[1] not in record:
        raise UnfitError("no-answer")
    system = next((key for key in _SYSTEMS if record.get(key)), "system")
    talk = Talk(notes)
    if record.get(system):
        talk.say("system", text_of(record[system], (system,), notes))
    for key, role in zip(names, ("user", "assistant"), strict=True):
        say_side(record[key], key, role, talk)
    made = chat.with_tools({"messages": talk.messages}, record, (), notes)
    notes.rest(record, (*names, system, *chat.TOOLS, *chat.BESIDE))
    return made


def say_side(value: object, key: str, role: str, talk: Talk) -> None:
    """Add a side of a record, which is one message's text or a list of messages."""
    messages = messages_in(value)
    if messages is None:
        talk.say(role, text_of(value, (key,), talk.notes))
    else:
        chat.say_all(messages, (key,), talk)


def write(record: Record, notes: Notes) -> Record:
    """Return a chat of one question and one answer as a prompt and its completion."""
    if is_text(record):
        return {"prompt": "", "completion": record["text"]}
    if is_pair(record):
        raise UnfitError("two-answers", ("non_preferred_output",), record["non_preferred_output"])
    turns = plain_turns(record, notes)
    if turns.before:
        raise UnfitError("turns-do-not-fit", ("messages",), record["messages"])
    if turns.system is None:
        return {"prompt": turns.asked, "completion": turns.answers[0]}
    notes.lost("system-joined", ("messages", 0), turns.system)
    return {"prompt": f"{turns.system}\n\n{turns.asked}", "completion": turns.answers[0]}


def write_text(record: Record, notes: Notes) -> Record:
    """Return plain text; anything else is left out."""
    del notes
    if not is_text(record):
        raise UnfitError("no-text", (), None)
    return record


def write_chat(record: Record, notes: Notes) -> Record:
    """Return chats and pairs as they are, and plain text as an answer to nothing."""
    if not is_text(record):
        return record
    notes.lost("text-without-prompt", ("text",), record["text"])
    return {"messages": [{"role": "assistant", "content": record["text"]}]}
