"""The paths that are looked for in one line, as a tree that a walk descends."""

from __future__ import annotations

from collections.abc import Iterable

from anytune.data.path import Path


class Wanted:
    """Be what is wanted from one value on: itself, if it has a `path` here, and what is below it by the next step."""

    __slots__ = ("below", "path")

    def __init__(self) -> None:
        self.path: Path | None = None
        self.below: dict[str | int, Wanted] = {}


def tree(paths: Iterable[Path]) -> Wanted:
    """Return what is wanted from the root on."""
    root = Wanted()
    for path in paths:
        node = root
        for step in path:
            node = node.below.setdefault(step, Wanted())
        node.path = path
    return root
