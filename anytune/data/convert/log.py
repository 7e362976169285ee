"""Read logs of chat completions: what was asked, and the first choice that came back."""

from __future__ import annotations

from typing import Any

from anytune.data.convert import anthropic, chat, exchange, responses
from anytune.data.convert.exchange import Body
from anytune.data.convert.loss import Notes, UnfitError, lacks
from anytune.data.convert.partner import Half
from anytune.data.convert.shape import Record, only_text, text_of
from anytune.data.convert.talk import Talk
from anytune.data.path import Path

_SAID = ("content", "tool_calls", "function_call", "refusal")
CUT_OFF = ("length", "content_filter")


def read(record: Record, notes: Notes) -> Record | Half:
    """Return the chat of a log, whichever interface it went through, or half of it from a batch file."""
    found = exchange.exchange(record)
    if found is None:
        raise lacks("request", "response")
    name = record.get("custom_id")
    if isinstance(name, str) and (found.request is None) != (found.response is None):
        return Half("batch", name.encode(errors="replace"), found.request is not None, record)
    api = exchange.api_of(found)
    if api == "responses":
        return responses.read(record, notes)
    if api == "anthropic":
        return anthropic.read(record, notes)
    bodies = exchange.whole(record, notes)
    assert bodies is not None
    return _completion(*bodies, notes)


def join(request: Record, response: Record, notes: Notes) -> Record:
    """Return the chat of a line of a batch's input and the line of its output with the same `custom_id`."""
    made = read({**request, **response}, notes)
    assert isinstance(made, dict)
    return made


def _completion(request: Body, response: Body, notes: Notes) -> Record:
    asked, answer = request.value, response.value
    talk = Talk(notes)
    if asked.get("system"):
        talk.say("system", only_text(asked["system"], (*request.path, "system"), notes, between="\n\n"))
    if "messages" in asked:
        chat.say_all(asked["messages"], (*request.path, "messages"), talk)
    else:
        talk.say("user", text_of(asked.get("prompt"), (*request.path, "prompt"), notes))
    _choose(answer, response.path, talk)
    only_systems(talk)
    made = chat.with_tools({"messages": talk.messages}, asked, request.path, notes)
    read_keys = ("messages", "prompt", "system", *chat.TOOLS, *chat.BESIDE)
    if request.path == response.path:
        notes.rest(asked, (*read_keys, "choices"))
    else:
        notes.rest(asked, read_keys, request.path)
        notes.rest(answer, ("choices", "role", "content", "tool_calls"), response.path)
    return made


def _choose(answer: Record, path: Path, talk: Talk) -> None:
    choices: Any = answer.get("choices", [{"message": answer}])
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnfitError("no-answer", path, choices)
    first, at = choices[0], (*path, "choices", 0)
    message = first.get("message", {"role": "assistant", "content": first.get("text")})
    if not isinstance(message, dict) or not any(message.get(key) for key in _SAID):
        raise UnfitError("no-answer", (*at, "message"), message)
    said = (
        {key: value for key, value in message.items() if key not in ("id", "object")}
        if "choices" in answer
        else {key: message[key] for key in ("role", "content", "tool_calls") if key in message}
    )
    chat.say({"role": "assistant", **said}, (*at, "message") if "choices" in answer else path, talk)
    talk.notes.rest(first, ("message", "text", "index", "finish_reason"), at)
    if first.get("finish_reason") in CUT_OFF:
        talk.notes.lost("answer-cut-off", (*at, "finish_reason"), first["finish_reason"])
    for place in range(1, len(choices)):
        talk.notes.lost("choice-dropped", (*path, "choices", place), choices[place])


def only_systems(talk: Talk) -> None:
    """Rename developer messages: what the service was told is what a system message tells it in training."""
    for message in talk.messages:
        if message["role"] == "developer":
            message["role"] = "system"
            talk.notes.lost("role-renamed", (), "developer")
