"""Check one message: its role, keys, content and weight."""

from __future__ import annotations

from typing import Any

from anytune.data.check.fault import Fault, Path
from anytune.data.check.tool import check_calls
from anytune.data.quote import Plain

ROLES = frozenset({"system", "user", "assistant", "tool", "function", "developer"})
_COMMON = frozenset({"role", "content", "name", "weight"})
_KEYS = {
    "assistant": _COMMON | {"tool_calls", "function_call", "refusal", "reasoning", "reasoning_content"},
    "tool": _COMMON | {"tool_call_id"},
}
_ALL_KEYS = frozenset[str]().union(*_KEYS.values())
_REASONING = ("reasoning", "reasoning_content")
_SOURCES = (
    "http://",
    "https://",
    "data:image/png;base64,",
    "data:image/jpeg;base64,",
    "data:image/webp;base64,",
)


def check_message(message: Any, path: Path, declared: set[str], out: list[Fault]) -> str | None:
    """Check one message and return its role, None if it has none that is known."""
    if not isinstance(message, dict):
        out.append(Fault("message-not-an-object", path, message))
        return None
    role = _check_role(message, path, out)
    _check_keys(message, role, path, out)
    if "weight" in message:
        _check_weight(message["weight"], role, path, out)
    if "tool_calls" in message and role == "assistant":
        check_calls(message, path, declared, out)
    if "content" in message:
        _check_content(message, role, path, out)
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
    return role


def _check_keys(message: dict[str, Any], role: str | None, path: Path, out: list[Fault]) -> None:
    known = _KEYS.get(role, _COMMON) if role else _ALL_KEYS
    for key in message:
        if key not in known:
            out.append(Fault("message-key-unknown", (*path, key), key, at_key=True))
    if "name" in message and not isinstance(message["name"], str):
        out.append(Fault("name-not-a-string", (*path, "name"), message["name"]))
    if role == "assistant" and len(message) > 2:
        out.extend(Fault("reasoning-content", (*path, key), key, at_key=True) for key in _REASONING if key in message)
        if "function_call" in message:
            out.append(Fault("functions-deprecated", (*path, "function_call"), "function_call", at_key=True))


def _check_weight(weight: Any, role: str | None, path: Path, out: list[Fault]) -> None:
    path = (*path, "weight")
    if isinstance(weight, bool):
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
        _check_parts(content, role, path, out)
    else:
        out.append(Fault("content-type", path, content))


def _check_parts(parts: list[Any], role: str | None, path: Path, out: list[Fault]) -> None:
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
    if not isinstance(url, str) or not url.startswith(_SOURCES):
        shown = url if isinstance(url, str) else image if "image_url" in part else Plain("missing")
        out.append(Fault("image-url-invalid", (*at, "image_url") if "image_url" in part else at, shown))
