"""Menders of a message around its content: role, keys, name and weight."""

from __future__ import annotations

from anytune.data.convert.shape import CALL, ROLES
from anytune.data.fix import walk
from anytune.data.fix.key import drop, drop_null, drop_unread
from anytune.data.fix.mender import Mender, Path, Record
from anytune.data.quote import quote

_ROLES = ("system", "user", "assistant", "tool", "developer", "function")
# Only words that can mean nothing else; a guess from the spelling is the check's, for a person to judge.
_ROLE_WORDS = {word: role for word, role in ROLES.items() if role != CALL} | {
    "assitant": "assistant",
    "asistant": "assistant",
    "assisstant": "assistant",
}
_KEYS = {"from": "role", "value": "content", "text": "content"}
_TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "true": 1, "false": 0}


def _rename_key(record: Record, path: Path) -> str | None:
    """Rename from and value or text where role or content is missing."""
    message = walk.message(record, path)
    renamed = [old for old, new in _KEYS.items() if old in message and new not in message]
    for old in renamed:
        if _KEYS[old] not in message:
            message[_KEYS[old]] = message.pop(old)
    return quote(renamed[0]) if renamed else None


def _name_role(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    given = message.get("role")
    word = given.strip().lower() if isinstance(given, str) else ""
    meant = word if word in _ROLES else _ROLE_WORDS.get(word)
    if meant is None:
        return None
    message["role"] = meant
    return f"{quote(given)} as {meant}"


def _say_system(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    if message.get("role") != "developer":
        return None
    message["role"] = "system"
    return ""


def _say_developer(record: Record, path: Path) -> str | None:
    message = walk.message(record, path)
    if message.get("role") != "system":
        return None
    message["role"] = "developer"
    return ""


def _write_name(record: Record, path: Path) -> str | None:
    held, key = walk.entry(record, path)
    if not held or isinstance(held[key], bool | list | dict | float):
        return None
    held[key] = str(held[key])
    return ""


def _whole_weight(record: Record, path: Path) -> str | None:
    """Write a weight that is 0 or 1 in another spelling as the integer."""
    held, key = walk.entry(record, path)
    weight = held.get(key)
    whole = _TRUTH.get(str(weight).strip().lower()) if isinstance(weight, str | int | float) else None
    if whole is None:
        return None
    held[key] = whole
    return f"{quote(weight)} as {whole}"


SPEAKER_MENDERS = (
    Mender("role-missing", "write the keys as role and content", _rename_key),
    Mender("content-missing", "write the keys as role and content", _rename_key),
    Mender("message-key-unknown", "write the keys as role and content", _rename_key),
    Mender("role-unknown", "write the role as providers name it", _name_role),
    Mender("role-developer", "write the role developer as system", _say_system, unless="system-in-reinforcement"),
    Mender("system-in-reinforcement", "write the role system as developer", _say_developer),
    Mender("message-key-unknown", "remove keys of messages that nobody reads", drop_unread),
    Mender("message-key-unknown", "remove keys of messages that say something nobody reads", drop, asks=True),
    Mender("reasoning-content", "remove the assistant's reasoning", drop, asks=True),
    Mender("reasoning-not-text", "remove reasoning that is no text", drop, asks=True),
    Mender("name-not-a-string", "write the name as a string", _write_name),
    Mender("name-not-a-string", "remove the name", drop, asks=True),
    Mender("weight-not-on-assistant", "remove weights from messages that are not the assistant's", drop),
    Mender("weight-boolean", "write the weight as 0 or 1", _whole_weight),
    Mender("weight-invalid", "remove keys that hold null", drop_null),
    Mender("weight-invalid", "write the weight as 0 or 1", _whole_weight),
    Mender("weight-invalid", "remove the weight, so that the message is trained on", drop, asks=True),
)
