"""Read ChatML text: messages between <|im_start|> and <|im_end|>."""

from __future__ import annotations

import re

from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.shape import Record, role_of, speaker_of
from anytune.data.convert.talk import Talk

START = "<|im_start|>"
_MESSAGE = re.compile(
    r"<\|im_start\|>[ \t]*([\w-]+)(?: name=([\w-]+))?[ \t]*\r?\n?(.*?)(?:<\|im_end\|>|(?=<\|im_start\|>)|\Z)", re.DOTALL
)
_OUTSIDE = re.compile(r"(?:\s|<\|endoftext\|>|<\|begin_of_text\|>|</?s>)*")


def read(record: Record, notes: Notes) -> Record:
    """Return the chat that a text holds; what stands between the marks is kept to the letter."""
    text = record.get("text")
    if not isinstance(text, str):
        raise lacks("text")
    notes.rest(record, ("text",))
    talk, end = Talk(notes), 0
    for found in _MESSAGE.finditer(text):
        _nothing(text[end : found.start()])
        end = found.end()
        word, name, content = found.groups()
        role = role_of(word, ("text",))
        if role in ("tool", "function"):
            talk.answer(content, path=("text",), called=name)
        elif content or end < len(text):  # an opening for an answer that is to come says nothing
            talk.say(speaker_of(word, ("text",)), content, **({"name": name} if name else {}))
    _nothing(text[end:])
    if not talk.messages:
        raise UnfitError("message-invalid", ("text",), text)
    return {"messages": talk.messages}


def _nothing(between: str) -> None:
    if not _OUTSIDE.fullmatch(between):
        raise UnfitError("chatml-broken", ("text",), between)
