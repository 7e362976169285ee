"""Read Anthropic messages: blocks of text, images, thinking, tool use and tool results, with the system outside."""

from __future__ import annotations

from typing import Any

from anytune.data.convert import exchange
from anytune.data.convert.chat import with_tools
from anytune.data.convert.loss import Notes, UnfitError, named
from anytune.data.convert.shape import Record, content_of, joined, only_text, speaker_of
from anytune.data.convert.talk import Talk
from anytune.data.path import Path

BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use", "document"})
_READ = ("messages", "system", "tools", "role", "content", "type", "stop_reason")
_CUT_OFF = ("max_tokens", "refusal", "model_context_window_exceeded")


def read(record: Record, notes: Notes) -> Record:
    """Return the chat of a conversation, or of a log of request and response."""
    bodies = exchange.whole(record, notes)
    (asked, path), answer = bodies if bodies else (exchange.Body(record, ()), None)
    talk = Talk(notes)
    if asked.get("system"):
        talk.say("system", only_text(asked["system"], (*path, "system"), notes, between="\n\n"))
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UnfitError("message-invalid", (*path, "messages"), messages)
    for place, message in enumerate(messages):
        _message(message, (*path, "messages", place), talk)
    if answer is not None:
        _message({"role": "assistant", "content": answer.value.get("content")}, answer.path, talk)
        if answer.value.get("stop_reason") in _CUT_OFF:
            notes.lost("answer-cut-off", (*answer.path, "stop_reason"), answer.value["stop_reason"])
        notes.rest(answer.value, _READ, answer.path)
    notes.rest(asked, _READ, path)
    return with_tools({"messages": talk.messages}, {"tools": asked.get("tools")}, path, notes)


def _message(message: Any, at: Path, talk: Talk) -> None:
    if not isinstance(message, dict):
        raise UnfitError("message-invalid", at, message)
    role = speaker_of(message.get("role"), (*at, "role"))
    talk.notes.rest(message, ("role", "content"), at)
    content, where = message.get("content"), (*at, "content")
    if not isinstance(content, list):
        talk.say(role, content_of(content, where, talk.notes))
        return
    if not content or not all(isinstance(block, dict) for block in content):
        raise UnfitError("content-unknown", where, content)
    blocks = [(block, (*where, place)) for place, block in enumerate(content)]
    (_assistant if role == "assistant" else _user)(role, blocks, where, talk)


def _user(role: str, blocks: list[tuple[Record, Path]], where: Path, talk: Talk) -> None:
    """Add the answers of tools first, as the next message after their calls, then what the user says."""
    kinds = [block.get("type") for block, _ in blocks]
    results = kinds.count("tool_result")
    if "tool_result" in kinds[results:]:
        talk.notes.lost("order-changed", where, named([str(kind) for kind in kinds]))
    for block, at in blocks:
        if block.get("type") == "tool_result":
            said = block.get("content")
            talk.notes.rest(block, ("type", "tool_use_id", "content"), at)
            text = "" if said is None else only_text(said, (*at, "content"), talk.notes)
            talk.answer(text, path=at, id=block.get("tool_use_id"))
    if results < len(blocks):
        spoken = [pair for pair in blocks if pair[0].get("type") != "tool_result"]
        talk.say(role, joined(spoken, where, talk.notes, between="\n\n"))


def _assistant(role: str, blocks: list[tuple[Record, Path]], where: Path, talk: Talk) -> None:
    """Add one message: its thinking, its text, its calls."""
    kinds = [block.get("type") for block, _ in blocks]
    if "tool_use" in kinds and any(kind != "tool_use" for kind in kinds[kinds.index("tool_use") :]):
        talk.notes.lost("order-changed", where, named([str(kind) for kind in kinds]))
    thoughts = [_thought(block, at, talk) for block, at in blocks if block.get("type") == "thinking"]
    spoken = [pair for pair in blocks if pair[0].get("type") not in ("thinking", "tool_use")]
    content = joined(spoken, where, talk.notes, between="") if spoken else None
    if content is None and "tool_use" not in kinds:
        raise UnfitError("no-answer", where)
    made = talk.say(role, content, **({"reasoning_content": "\n\n".join(thoughts)} if any(thoughts) else {}))
    for block, at in blocks:
        if block.get("type") == "tool_use":
            talk.notes.rest(block, ("type", "id", "name", "input"), at)
            talk.call(block.get("name"), block.get("input"), path=at, id=block.get("id"), into=made)


def _thought(block: Record, at: Path, talk: Talk) -> str:
    talk.notes.rest(block, ("type", "thinking"), at)
    return str(block.get("thinking") or "")
