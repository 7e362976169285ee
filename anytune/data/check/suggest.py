"""Guess what the user meant by an unknown word."""

from __future__ import annotations

from difflib import get_close_matches

ROLES = ("system", "user", "assistant", "tool", "developer", "function")
_ROLE_WORDS = {
    "human": "user",
    "customer": "user",
    "prompter": "user",
    "question": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "answer": "assistant",
    "observation": "tool",
    "tool_result": "tool",
    "ipython": "tool",
    "instruction": "system",
}
_KEY_WORDS = {
    "conversations": "messages",
    "conversation": "messages",
    "message": "messages",
    "dialog": "messages",
    "dialogue": "messages",
    "chat": "messages",
    "from": "role",
    "value": "content",
    "text": "content",
    "chosen": "preferred_output",
    "rejected": "non_preferred_output",
    "preferred_completion": "preferred_output",
    "non_preferred_completion": "non_preferred_output",
    "prompt": "input",
}


def role_meant(value: object) -> str | None:
    """Name the role that a wrong role probably stands for."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    word = value.strip().lower()
    meant = _ROLE_WORDS.get(word) or next(iter(get_close_matches(word, ROLES, n=1, cutoff=0.7)), None)
    return f'write "{meant}"' if meant else None


def key_meant(value: object) -> str | None:
    """Name the key that an unknown key probably stands for."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    meant = near_key(value, _KEYS)
    return f'did you mean "{meant}"? otherwise remove it' if meant else None


def near_key(word: str, known: tuple[str, ...]) -> str | None:
    """Return the known key that is nearest to the word, None if none is near or it is the word itself."""
    lowered = word.strip().lower()
    meant = _KEY_WORDS.get(lowered)
    if meant in known:
        return meant
    likely = [key for key in known if _may_be_near(lowered, key)]
    near = next(iter(get_close_matches(lowered, likely, n=1, cutoff=_NEAR)), None) if likely else None
    return near if near != word else None


def _may_be_near(word: str, key: str) -> bool:
    """Tell whether they share letters enough: quick, for a line may have very many unknown keys."""
    return 2 * sum(letter in key for letter in word) >= _NEAR * (len(word) + len(key))


_NEAR = 0.8  # of the letters, in order
_KEYS = (
    "messages",
    "tools",
    "parallel_tool_calls",
    "role",
    "content",
    "name",
    "weight",
    "tool_calls",
    "tool_call_id",
    "input",
    "preferred_output",
    "non_preferred_output",
)
