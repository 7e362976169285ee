"""The words and shapes that several formats share: roles, texts, parts, and JSON within text."""

from __future__ import annotations

import ast
from typing import Any

import msgspec

from anytune.data.convert.loss import Notes, UnfitError, named
from anytune.data.path import Path

Record = dict[str, Any]
CALL = "call"  # not a role of a chat: a turn that only calls functions
ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": CALL,
    "function-call": CALL,
    "tool_call": CALL,
    "tool": "tool",
    "observation": "tool",
    "ipython": "tool",
    "function_response": "tool",
    "function-response": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "function": "function",
}
PIECES = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def is_pair(record: Record) -> bool:
    """Tell whether a record in our own form is a pair; a chat may have a key `input` for its grader."""
    return "input" in record and "messages" not in record


def is_text(record: Record) -> bool:
    """Tell whether a record in our own form is plain text; a chat may have a key `text` for its grader."""
    return "text" in record and "messages" not in record


def role_of(word: Any, path: Path) -> str:
    """Return the role that a word of some format stands for."""
    role = ROLES.get(word.strip().lower()) if isinstance(word, str) else None
    if role is None:
        raise UnfitError("role-unknown", path, word)
    return role


def speaker_of(word: Any, path: Path) -> str:
    """Return the role of somebody who speaks; tools and bare calls do not."""
    role = role_of(word, path)
    if role in (CALL, "tool", "function"):
        raise UnfitError("role-unknown", path, word)
    return role


def unpacked(value: Any) -> Any:
    """Return the list or object that a text holds, as JSON or as Python shows it, else the value itself."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    for read in (_decode, ast.literal_eval):
        try:
            found = read(value.strip())
        except (msgspec.MsgspecError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | dict):
            return found
    return value


def messages_in(value: Any) -> list[Record] | None:
    """Return the messages that a value holds, also as JSON text, None if it is no list of messages."""
    found = unpacked(value)
    if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
        return None
    return found if all("role" in item or "from" in item for item in found) else None


def packed(value: Any) -> str:
    """Write a value as JSON text without blanks, keys in their order."""
    try:
        return _encode(value).decode()
    except (TypeError, ValueError) as error:
        raise UnfitError("not-encodable") from error


def text_of(value: Any, path: Path, notes: Notes) -> str:
    """Return a text; a number or a truth value becomes one and is noted."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        notes.lost("value-as-text", path, value)
        return packed(value)
    raise UnfitError("content-unknown", path, value)


def content_of(content: Any, path: Path, notes: Notes, *, between: str | None = None) -> str | list[Record]:
    """Return what a message says: text, or parts as a chat has them.

    Pieces of text become one with `between` between them; parts stay parts if it is None.
    """
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return text_of(content, path, notes)
    return joined([(part, (*path, place)) for place, part in enumerate(content)], path, notes, between=between)


def joined(
    given: list[tuple[Any, Path]], path: Path, notes: Notes, *, between: str | None = None
) -> str | list[Record]:
    """Return the content of parts that know where they stand; see `content_of`."""
    parts = [part for one, at in given if (part := _part(one, at, notes)) is not None]
    if given and not parts:
        raise UnfitError("content-unknown", path, [one for one, _ in given])
    if between is None or any(part["type"] != "text" for part in parts):
        return parts
    if len(parts) > 1:
        notes.lost("parts-joined", path, parts)
    return between.join(part["text"] for part in parts)


def only_text(content: Any, path: Path, notes: Notes, *, between: str = "\n") -> str:
    """Return the text of a content; parts of other kinds are dropped and noted."""
    found = content_of(content, path, notes, between=between)
    if isinstance(found, str):
        return found
    notes.lost("part-dropped", path, named([part["type"] for part in found if part["type"] != "text"]))
    return between.join(part["text"] for part in found if part["type"] == "text")


def _part(part: Any, path: Path, notes: Notes) -> Record | None:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if str(kind) in PIECES and isinstance(part.get("text"), str):
        notes.rest(part, ("type", "text"), path)
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        notes.rest(part, ("type", "refusal"), path)
        return {"type": "refusal", "refusal": part["refusal"]}
    image = _image(part, kind)
    if image is None:
        notes.lost("part-dropped", path, named([str(kind or "a part without a type")]))
    else:
        notes.rest(part, ("type", "image_url", "source", "detail"), path)
    return image


def _image(part: Any, kind: str | None) -> Record | None:
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        return {"type": "image_url", "image_url": part["image_url"]}
    url = part.get("image_url") if kind in ("image_url", "input_image") else None
    if kind == "image" and isinstance(source := part.get("source"), dict):
        url = source.get("url")
        if source.get("type") == "base64":
            url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    if not isinstance(url, str):
        return None
    detail = {"detail": part["detail"]} if part.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}
