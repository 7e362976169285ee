"""Read ShareGPT's records as a conversion reads them: what `convert` keeps, `fix` keeps, as the same chat."""

from __future__ import annotations

from typing import Any

from anytune.data.convert import chat, preference
from anytune.data.convert.loss import Note, Notes, UnfitError
from anytune.data.convert.recognise import recognise
from anytune.data.convert.shape import CALL, ROLES
from anytune.data.fix.mender import Mender, Path, Record, once

_OURS = ("system", *chat.TOOLS, *chat.BESIDE)
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_OF_TOOLS = frozenset({CALL, "tool", "function"})


def _take(record: Record, _: Path) -> str | None:
    """Put a chat, or a pair, in the place of the record, if its turns, tools and system prompt lose nothing by it."""
    made, lost = _read(record)
    if made is None or lost:
        return None
    _replace(record, made)
    return ""


def _take_with_loss(record: Record, _: Path) -> str | None:
    """Put a chat in the place of a record that says more than its turns, without what a chat has no place for."""
    made, lost = _read(record)
    if made is None or _is_plain(record):
        return None
    _replace(record, made)
    return ", ".join(dict.fromkeys(note.code for note in lost))


def _rename(record: Record, _: Path) -> str | None:
    """Rename the keys of a chat that says no more than its turns, and leave what else is odd in them to others."""
    turns = record.get("conversations", record.get("messages"))
    if not _is_plain(record) or not isinstance(turns, list) or ("messages" in record and "conversations" in record):
        return None
    if "conversations" in record:
        record["messages"] = record.pop("conversations")
    for turn in turns:
        for old, new in (("from", "role"), ("value", "content")):
            if old in turn and new not in turn:
                turn[new] = turn.pop(old)
    return ""


def _is_plain(record: Record) -> bool:
    """Tell whether all that a record says are turns of people, for which other keys and roles will do."""
    turns = next((record[key] for key in chat.HOLDERS if isinstance(record.get(key), list)), None)
    if "system" in record or "tools" in record or turns is None or not all(isinstance(turn, dict) for turn in turns):
        return False
    words = (turn.get("from", turn.get("role")) for turn in turns)
    return not any(isinstance(word, str) and ROLES.get(word.strip().lower()) in _OF_TOOLS for word in words)


def _read(record: Record) -> tuple[Record | None, list[Note]]:
    """Return the record as a conversion reads it, and what that loses; keys that say something beside it stay."""
    seen, notes = recognise(record), Notes()
    try:
        if seen is not None and seen.format == "trl-preference" and "conversations" in record:
            return preference.read_chosen(record, notes), notes.found
        if seen is None or not (seen.format == "sharegpt" or (seen.format == "chat" and "conversations" in seen.by)):
            return None, []
        own = (chat.held_by(record)[0], *_OURS)
        made = chat.read({key: value for key, value in record.items() if key in own}, notes)
    except UnfitError:
        return None, []
    return made | {key: one for key, one in record.items() if key not in own and one not in _NOTHING}, notes.found


def _replace(record: Record, made: Record) -> None:
    record.clear()
    record.update(made)


_CODES = ("sharegpt", "messages-missing", "role-missing")
_TAKEN = "write conversations, from and value as messages, role and content"
_LOST = "write conversations, from and value as a chat, without what it has no place for"
SHAREGPT_MENDERS = (
    *(Mender(code, _TAKEN, once(_take)) for code in _CODES),
    Mender("sharegpt", "rename conversations, from and value", _rename),
    *(Mender(code, _LOST, once(_take_with_loss), asks=True) for code in _CODES),
)
