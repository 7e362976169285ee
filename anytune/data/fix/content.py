"""Menders of what a message says: text, parts and images."""

from __future__ import annotations

import json
from typing import Any

from anytune.data.fix import walk
from anytune.data.fix.key import drop
from anytune.data.fix.mender import Mender, Path, Record, once
from anytune.data.quote import quote

BETWEEN = "\n"
_TEXT_TYPES = ("input_text", "output_text")
_IMAGE_TYPES = ("input_image", "image")


def joined(one: Any, other: Any) -> Any:
    """Join two contents, as text if both are text, else as parts."""
    if not one or not other:
        return one or other
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}{BETWEEN}{other}"
    return [*parts(one), *parts(other)]


def parts(content: Any) -> list[Any]:
    """Return a content as a list of parts."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def as_text(content: Any) -> str | None:
    """Return the text of a list of text parts, None if it holds anything else."""
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if _is_text(part) else None for part in content]
    return BETWEEN.join(texts) if texts and all(isinstance(text, str) for text in texts) else None  # type: ignore[arg-type]


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _drop_silent_system(record: Record, path: Path) -> str | None:
    place = walk.message_place(record, path)
    message = walk.message(record, path)
    content = message.get("content")
    text = content if isinstance(content, str) else as_text(content) if content is not None else ""
    if place is None or message.get("role") not in ("system", "developer") or text is None or text.strip():
        return None
    del place[0][place[1]]
    return ""


def _answer_nothing(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    if message.get("role") not in ("tool", "function") or message.get("content") is not None:
        return None
    message["content"] = ""
    return ""


def _write_text(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    content = message.get("content")
    if content is None or isinstance(content, str | list):
        return None
    is_part = isinstance(content, dict) and isinstance(content.get("type"), str)
    message["content"] = [content] if is_part else json.dumps(content, ensure_ascii=False)
    return ""


def _no_parts(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    if message.get("content") != []:
        return None
    if message.get("tool_calls") or message.get("function_call") or message.get("refusal"):
        del message["content"]
    else:
        message["content"] = ""
    return ""


def _write_part(record: Record, path: Path) -> str | None:
    """Write a bare string or number among the parts as a text part, and drop a null."""
    place = walk.part_place(record, path)
    if place is None or isinstance(place[0][place[1]], dict | list):
        return None
    held, index = place
    if held[index] is None:
        del held[index]
    else:
        text = held[index] if isinstance(held[index], str) else json.dumps(held[index])
        held[index] = {"type": "text", "text": text}
    return ""


def _name_part(record: Record, path: Path) -> str | None:
    """Give a part of the Responses API, or one without a type, the type that its keys show."""
    part = walk.part(record, path)
    kind = part.get("type")
    if isinstance(part.get("text"), str) and (kind in _TEXT_TYPES or "type" not in part):
        part["type"] = "text"
    elif "image_url" in part and (kind in _IMAGE_TYPES or "type" not in part):
        part["type"] = "image_url"
    else:
        return None
    return quote(kind)


def _text_of_part(record: Record, path: Path) -> str | None:
    """Drop a part whose text is null or missing beside others; write a number as text."""
    place, part = walk.part_place(record, path), walk.part(record, path)
    if place is None or part.get("type") != "text":
        return None
    text = part.get("text")
    if text is None and len(place[0]) > 1 and part.keys() <= {"type", "text"}:
        del place[0][place[1]]
    elif isinstance(text, int | float):
        part["text"] = json.dumps(text)
    else:
        return None
    return ""


def _wrap_url(record: Record, path: Path) -> str | None:
    part = walk.part(record, path)
    if not isinstance(part.get("image_url"), str):
        return None
    part["image_url"] = {"url": part["image_url"]}
    return ""


def _spell_type(record: Record, path: Path) -> str | None:
    image = walk.part(record, path).get("image_url")
    if not isinstance(image, dict) or not isinstance(url := image.get("url"), str):
        return None
    head, comma, data = url.partition(",")
    spelt = head.lower().replace("image/jpg", "image/jpeg")
    if spelt == head:
        return None
    image["url"] = f"{spelt}{comma}{data}"
    return ""


def _drop_part(record: Record, path: Path) -> str | None:
    place = walk.part_place(record, path)
    if place is None:
        return None
    del place[0][place[1]]
    return ""


def _refusal_as_text(record: Record, path: Path) -> str | None:
    place, part = walk.part_place(record, path), walk.part(record, path)
    if place is None or not isinstance(part.get("refusal"), str):
        return None
    place[0][place[1]] = {"type": "text", "text": part["refusal"]}
    return ""


def _one_string(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    text = as_text(message.get("content"))
    if text is None:
        return None
    message["content"] = text
    return ""


def _one_form(record: Record, _: Path) -> str | None:
    """Write all messages as strings if they are only text, else all but tool messages as parts."""
    said = [m for one in walk.conversations(record) for m in one["messages"] if isinstance(m, dict)]
    lists = [message for message in said if isinstance(message.get("content"), list)]
    texts = [as_text(message["content"]) for message in lists]
    if None not in texts:
        for message, text in zip(lists, texts, strict=True):
            message["content"] = text
        return "" if lists else None
    strings = [m for m in said if isinstance(m.get("content"), str) and m["content"] and m.get("role") != "tool"]
    for message in strings:
        message["content"] = parts(message["content"])
    return "" if strings else None


CONTENT_MENDERS = (
    Mender("content-null", "remove system messages that say nothing", _drop_silent_system),
    Mender("content-missing", "remove system messages that say nothing", _drop_silent_system),
    Mender("content-null", "write that a tool answered nothing", _answer_nothing),
    Mender("content-missing", "write that a tool answered nothing", _answer_nothing),
    Mender("content-type", "write the content as text", _write_text),
    Mender("part-not-an-object", "write bare text as a part", _write_part),
    Mender("part-type-unknown", "name the part's type as chats do", _name_part),
    Mender("part-text-invalid", "write the part's text as a string", _text_of_part),
    Mender("image-url-invalid", "write image_url as an object", _wrap_url),
    Mender("image-url-invalid", "remove the image", _drop_part, asks=True),
    Mender("image-not-from-user", "remove the image", _drop_part, asks=True),
    Mender("image-url-remote", "remove the image", _drop_part, asks=True, least="error"),
    Mender("image-format", "write the type of an image in lower case, and JPEG as jpeg", _spell_type),
    Mender("image-format", "remove the image", _drop_part, asks=True, least="error"),
    Mender("image-too-large", "remove the image", _drop_part, asks=True, least="error"),
    Mender("image-detail", "remove the detail of the image", drop),
    Mender("image-trained", "remove weights from messages with images", drop),
    Mender("refusal-part", "write a refusal as text", _refusal_as_text, asks=True),
    Mender("image-part", "remove the image", _drop_part, asks=True, least="error"),
    Mender("parts-empty", "write that the message says nothing", _no_parts),
    Mender("content-empty", "remove system messages that say nothing", _drop_silent_system),
    Mender("tool-content-parts", "write the parts of a tool message as one string", _one_string),
    Mender("parts-and-strings", "write all messages of a record in one form", once(_one_form)),
)
