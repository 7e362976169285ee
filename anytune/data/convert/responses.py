"""Read items of the Responses API: messages, calls, their outputs and reasoning."""

from __future__ import annotations

from typing import Any

from anytune.data.convert import chat, exchange
from anytune.data.convert.loss import Notes, UnfitError, lacks, named
from anytune.data.convert.shape import Record, content_of, only_text, speaker_of
from anytune.data.convert.talk import Talk
from anytune.data.path import Path

HOLDERS = ("input", "items")
_READ = ("input", "items", "instructions", "output", "object", *chat.TOOLS, *chat.BESIDE)
_ITEM_KEYS = ("type", "role", "content", "id", "status", "phase")
_CALL_KEYS = ("type", "id", "status", "call_id", "name", "arguments", "output")
_ASIDE = frozenset(  # what the service did by itself, and marks; without them the conversation still makes sense
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "item_reference",
        "compaction",
    }
)


def read(record: Record, notes: Notes) -> Record:
    """Return the chat of items: a log of request and response, or one list of items."""
    bodies = exchange.whole(record, notes)
    asked, path = bodies[0] if bodies else exchange.Body(record, ())
    talk = _Items(notes)
    answer, answer_path = bodies[1] if bodies else exchange.Body(record, ())
    instructions = asked.get("instructions") or answer.get("instructions")
    if instructions:
        talk.take(instructions, (*path, "instructions"), role="system")
    key = next((key for key in HOLDERS if asked.get(key)), None)
    if key is None:
        raise lacks("input")
    talk.take(asked[key], (*path, key), role="user")
    if isinstance(answer.get("output"), list):
        talk.take(answer["output"], (*answer_path, "output"), role="assistant")
    made = _finished(talk, answer, answer_path)
    made = chat.with_tools(made, asked if asked.get("tools") else answer, path, notes)
    for place, body in {path: asked, answer_path: answer}.items():
        notes.rest(body, (*_READ, "incomplete_details", "error"), place)
    return made


def _finished(talk: _Items, answer: Record, path: Path) -> Record:
    if not any(message["role"] == "assistant" for message in talk.messages):
        raise UnfitError("no-answer", path)
    if answer.get("status") == "incomplete":
        talk.notes.lost("answer-cut-off", (*path, "status"), answer.get("status"))
    talk.settle()
    return {"messages": talk.messages}


class _Items(Talk):
    """Be a talk made of items; reasoning waits for the message or the call that it led to."""

    def __init__(self, notes: Notes) -> None:
        super().__init__(notes)
        self._thought: list[str] = []

    def take(self, items: Any, path: Path, *, role: str) -> None:
        """Add a list of items, or a bare text as a message of this role."""
        if isinstance(items, str):
            self.say(role, items)
            return
        if not isinstance(items, list):
            raise UnfitError("message-invalid", path, items)
        for place, item in enumerate(items):
            if not isinstance(item, dict):
                raise UnfitError("message-invalid", (*path, place), item)
            self._item(item, (*path, place))

    def settle(self) -> None:
        """Note reasoning that led to nothing."""
        if self._thought:
            self.notes.lost("item-dropped", (), named(["reasoning"]))

    def _item(self, item: Record, at: Path) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, at)
        elif kind == "function_call":
            self.notes.rest(item, _CALL_KEYS, at)
            into = self.say("assistant", None, **self._thoughts()) if self._thought else None
            self.call(item.get("name"), item.get("arguments"), path=at, id=item.get("call_id"), into=into)
        elif kind == "function_call_output":
            self.notes.rest(item, _CALL_KEYS, at)
            said = only_text(item.get("output", ""), (*at, "output"), self.notes)
            self.answer(said, path=at, id=item.get("call_id"))
        elif kind == "reasoning":
            self._reasoning(item, at)
        elif str(kind) in _ASIDE:
            self.notes.lost("item-dropped", at, named([str(kind)]))
        else:
            raise UnfitError("item-unknown", (*at, "type"), kind)

    def _message(self, item: Record, at: Path) -> None:
        word = speaker_of(item.get("role"), (*at, "role"))
        role = "system" if word == "developer" else word
        if role != word:
            self.notes.lost("role-renamed", (*at, "role"), word)
        between = "" if role == "assistant" else "\n\n"
        content = content_of(item.get("content"), (*at, "content"), self.notes, between=between)
        self.notes.rest(item, _ITEM_KEYS, at)
        self.say(role, content, **(self._thoughts() if role == "assistant" else {}))

    def _reasoning(self, item: Record, at: Path) -> None:
        for key in ("content", "summary"):
            if item.get(key):
                self._thought.append(only_text(item[key], (*at, key), self.notes))
                break
        self.notes.rest(item, ("type", "id", "status", "summary", "content"), at)

    def _thoughts(self) -> Record:
        thought, self._thought = "\n\n".join(self._thought), []
        return {"reasoning_content": thought} if thought else {}
