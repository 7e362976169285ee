"""Where a value stands in a record: the keys and places that lead to it."""

from __future__ import annotations

from anytune.data.quote import quote

Path = tuple[str | int, ...]
_LONGEST_PLAIN = 60


def json_path(path: Path) -> str:
    """Write a path as `$.messages[1].weight`; a key that is no plain word stands in brackets, shortened and masked."""
    steps = (f"[{step}]" if isinstance(step, int) else _key(step) for step in path)
    return "$" + "".join(steps)


def _key(key: str) -> str:
    if key.isidentifier() and key.isascii() and len(key) <= _LONGEST_PLAIN:
        return f".{key}"
    shown = quote(key)[1:-1].replace("\\", "\\\\").replace('"', '\\"')
    return f'["{shown}"]'
