"""Check one message: its role, keys, content and weight."""

from __future__ import annotations

import re
from typing import Any

from anytune.data.check.fault import Fault, Path
from anytune.data.check.rules.base import OUR_TRAINER
from anytune.data.check.tool import check_calls, check_old_call
from anytune.data.quote import Plain

ROLES = frozenset({"system", "user", "assistant", "tool", "function", "developer"})
_COMMON = frozenset({"role", "content", "name", "weight"})
_KEYS = {
    "assistant": _COMMON | {"tool_calls", "function_call", "refusal", "reasoning", "reasoning_content"},
    "tool": _COMMON | {"tool_call_id"},
}
_ALL_KEYS = frozenset[str]().union(*_KEYS.values())
_REASONING = ("reasoning", "reasoning_content")
_NULLABLE = frozenset({"tool_calls", "function_call", "refusal", "name", "reasoning", "reasoning_content"})
_NOT_LOCAL = ("openai", "together", "fireworks", "azure", "nebius")
_DETAILS = ("auto", "low", "high", "original", None)
_REMOTE = ("http://", "https://")
_DATA = re.compile(r"data:image/(png|jpe?g|webp);base64,", re.IGNORECASE)
_AS_TOGETHER_WANTS = frozenset(f"data:image/{kind};base64," for kind in ("jpeg", "png", "webp"))
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_MOST_IMAGE_BYTES = 10 << 20


def check_message(message: Any, path: Path, declared: set[str], out: list[Fault]) -> str | None:
    """Check one message and return its role, None if it has none that is known."""
    if not isinstance(message, dict):
        out.append(Fault("message-not-an-object", path, message))
        return None
    role = _check_role(message, path, out)
    _check_keys(message, role, path, out)
    if "weight" in message:
        _check_weight(message["weight"], role, path, out)
    if role == "assistant" and message.get("tool_calls") is not None:
        check_calls(message, path, declared, out)
    if "content" in message:
        _check_content(message, role, path, out)
        if message.get("weight") == 1 and _has_image(message["content"]):
            out.append(Fault("image-trained", (*path, "weight")))
    elif not _speaks_otherwise(message, role):
        out.append(Fault("content-missing", path))
    return role


def _check_role(message: dict[str, Any], path: Path, out: list[Fault]) -> str | None:
    role = message.get("role")
    if "role" not in message:
        out.append(Fault("role-missing", path))
        return None
    if not isinstance(role, str) or role not in ROLES:
        out.append(Fault("role-unknown", (*path, "role"), role))
        return None
    if role == "developer":
        out.append(Fault("role-developer", (*path, "role")))
    elif role == "function":
        out.append(Fault("functions-deprecated", (*path, "role"), role))
        if not isinstance(message.get("name"), str):
            out.append(Fault("functions-invalid", path, Plain("a function message without a name")))
    return role


def _check_keys(message: dict[str, Any], role: str | None, path: Path, out: list[Fault]) -> None:
    known = _KEYS.get(role, _COMMON) if role else _ALL_KEYS
    for key in message:
        if key not in known:
            out.append(Fault("message-key-unknown", (*path, key), key, at_key=True))
        elif message[key] is None and key in _NULLABLE:
            out.append(Fault("null-key", (*path, key), key, at_key=True))
    if message.get("name") is not None and not isinstance(message["name"], str):
        out.append(Fault("name-not-a-string", (*path, "name"), message["name"]))
    if role == "assistant" and (len(message) > 2 or "content" not in message):
        for key in (key for key in _REASONING if message.get(key) is not None):
            out.append(Fault("reasoning-content", (*path, key), key, at_key=True))
            if not isinstance(message[key], str):
                out.append(Fault("reasoning-not-text", (*path, key), message[key]))
        if message.get("function_call") is not None:
            out.append(Fault("functions-deprecated", (*path, "function_call"), "function_call", at_key=True))
            check_old_call(message["function_call"], (*path, "function_call"), out)


def _check_weight(weight: Any, role: str | None, path: Path, out: list[Fault]) -> None:
    path = (*path, "weight")
    if weight is None:
        out.append(Fault("null-key", path, "weight", at_key=True, among=OUR_TRAINER))
        out.append(Fault("weight-invalid", path, weight, among=_NOT_LOCAL))
    elif isinstance(weight, bool):
        out.append(Fault("weight-boolean", path, weight))
    elif not isinstance(weight, int) or weight not in (0, 1):
        out.append(Fault("weight-invalid", path, weight))
    if role not in ("assistant", None):
        out.append(Fault("weight-not-on-assistant", path, role, at_key=True))


def _speaks_otherwise(message: dict[str, Any], role: str | None) -> bool:
    return role == "assistant" and any(message.get(key) for key in ("tool_calls", "function_call", "refusal"))


def _check_content(message: dict[str, Any], role: str | None, path: Path, out: list[Fault]) -> None:
    content = message["content"]
    path = (*path, "content")
    if isinstance(content, str):
        if (not content or content.isspace()) and not _speaks_otherwise(message, role):
            out.append(Fault("content-empty", path))
    elif content is None:
        if not _speaks_otherwise(message, role):
            out.append(Fault("content-null", path))
    elif isinstance(content, list):
        check_parts(content, role, path, out)
    else:
        out.append(Fault("content-type", path, content))


def check_parts(parts: list[Any], role: str | None, path: Path, out: list[Fault]) -> None:
    """Check the parts of which a content is made."""
    if not parts:
        out.append(Fault("parts-empty", path))
    elif role == "tool":
        out.append(Fault("tool-content-parts", path))
    for place, part in enumerate(parts):
        at = (*path, place)
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(part, dict):
            out.append(Fault("part-not-an-object", at, part))
        elif kind == "text" or (kind == "refusal" and role == "assistant"):
            _check_text(part, str(kind), at, out)
            if kind == "refusal":
                out.append(Fault("refusal-part", at))
        elif kind == "image_url":
            _check_image(part, role, at, out)
        elif "type" in part:
            out.append(Fault("part-type-unknown", (*at, "type"), kind))
        else:
            out.append(Fault("part-type-unknown", at, Plain("(none)")))
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) == len(parts) and parts and all(isinstance(t, str) and not t.strip() for t in texts):
        out.append(Fault("content-empty", path))


def _check_text(part: dict[str, Any], key: str, at: Path, out: list[Fault]) -> None:
    if key not in part:
        out.append(Fault("part-text-invalid", at, Plain("missing")))
    elif not isinstance(part[key], str):
        out.append(Fault("part-text-invalid", (*at, key), part[key]))


def _check_image(part: dict[str, Any], role: str | None, at: Path, out: list[Fault]) -> None:
    out.append(Fault("image-part", at))
    if role not in ("user", None):
        out.append(Fault("image-not-from-user", at, role))
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if isinstance(image, dict) and image.get("detail") not in _DETAILS:
        out.append(Fault("image-detail", (*at, "image_url", "detail"), image["detail"]))
    if not isinstance(url, str):
        shown = image if "image_url" in part else Plain("missing")
        inner = ("image_url", "url") if isinstance(image, dict) and "url" in image else ("image_url",)
        out.append(Fault("image-url-invalid", (*at, *inner) if "image_url" in part else at, shown))
    elif url.lower().startswith(_REMOTE):
        out.append(Fault("image-url-remote", (*at, "image_url", "url"), url))
    else:
        _check_data_url(url, (*at, "image_url", "url"), out)


def _has_image(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "image_url" for p in content)


def _check_data_url(url: str, at: Path, out: list[Fault]) -> None:
    head = _DATA.match(url)
    if head is None:
        out.append(Fault("image-url-invalid", at, url[:60]))
        return
    if head[1].lower() == "webp":
        out.append(Fault("image-format", at, head[1], among=("fireworks",)))
    if head[0] not in _AS_TOGETHER_WANTS:
        out.append(Fault("image-format", at, head[1], among=("together",)))
    size = (len(url) - head.end()) * 3 // 4
    if size > _MOST_IMAGE_BYTES:
        out.append(Fault("image-too-large", at, Plain(f"{size / 1e6:.1f} MB")))
    elif not _BASE64.fullmatch(url, head.end()) or (len(url) - head.end()) % 4 or size == 0:
        out.append(Fault("image-not-base64", at))
