"""Take one line of JSON apart into its strings as they stand in the file, and tell their paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from typing import NamedTuple

import msgspec

from anytune.data.path import json_path
from anytune.data.privacy.escape import Origins, plain
from anytune.data.privacy.report import Finding
from anytune.data.sniff import BOM

_TOKEN = re.compile(r'"((?:[^"\\]++|\\.)*+)"|-?([0-9][0-9.eE+\-]{5,})', re.DOTALL)
_STEP = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]|[^"{}\[\],:\s]++', re.DOTALL)


class Piece(NamedTuple):
    """Be a string's inside, a number, or a whole line that is no JSON, at [start, end) of the decoded line."""

    start: int
    end: int
    text: str
    is_number: bool = False


class Line(NamedTuple):
    """Be a line that is looked at: its number and byte offset in the file, None where the file holds another text."""

    number: int
    offset: int | None
    text: bytes


def decoded(line: bytes) -> str:
    """Return the line as text from which `encoded` makes the same bytes again, be they UTF-8 or not."""
    return line.decode(errors="surrogateescape")


def encoded(raw: str) -> bytes:
    """Return the bytes of a decoded line."""
    return raw.encode(errors="surrogateescape")


def pieces(line: bytes, *, shortest_word: int = 0) -> Iterator[Piece]:
    """Yield the strings (keys, too) and the long numbers of a line of JSON, or the line itself if it is none.

    Strings of fewer letters than `shortest_word` and nothing else are left out: most are keys and roles.
    """
    raw = decoded(line)
    if not is_json(line):
        yield Piece(0, len(raw), raw)
        return
    for token in _TOKEN.finditer(raw):
        inside = token.lastindex or 0
        text = token[inside]
        if not text.isalpha() or len(text) >= shortest_word:
            yield Piece(*token.span(inside), plain(text), inside == 2)


def is_json(line: bytes) -> bool:
    """Tell whether a line, which may begin with a byte order mark, is JSON."""
    try:
        msgspec.json.decode(line.removeprefix(BOM))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def offsets(line: bytes, found: Sequence[tuple[Piece, Finding]]) -> list[int]:
    """Return the byte offsets in a line at which findings in its pieces begin, as they are written there."""
    raw, is_whole = decoded(line), not is_json(line)
    origins: dict[int, Origins] = {}
    starts: list[int] = []
    for piece, finding in found:
        if is_whole or piece.is_number:
            starts.append(piece.start + finding.start)
            continue
        if piece.start not in origins:
            origins[piece.start] = Origins(raw[piece.start : piece.end])
        starts.append(piece.start + origins[piece.start][finding.start])
    seen = offset = 0
    known: dict[int, int] = {}
    for start in sorted(set(starts)):
        offset += len(encoded(raw[seen:start]))
        known[start], seen = offset, start
    return [known[start] for start in starts]


class _Frame:
    """Be one open object or list, and the key or index that the walk is at."""

    __slots__ = ("at", "is_key")

    def __init__(self, opened: str) -> None:
        self.is_key = opened == "{"
        self.at: str | int = "" if opened == "{" else 0


def paths(line: bytes, wanted: Container[int], hidden: Callable[[str], str]) -> dict[int, str]:
    """Return the JSON paths of the pieces that start at the wanted offsets; `hidden` masks what a key holds."""
    raw = decoded(line)
    found: dict[int, str] = {}
    stack: list[_Frame] = []
    for step in _STEP.finditer(raw):
        sign, frame = step[0], stack[-1] if stack else None
        if sign in "{[":
            stack.append(_Frame(sign))
        elif sign in "}]":
            stack.pop()
        elif sign == "," and frame is not None:
            if isinstance(frame.at, int):
                frame.at += 1
            else:
                frame.is_key = True
        elif sign == ":" and frame is not None:
            frame.is_key = False
        else:
            if frame is not None and frame.is_key:
                frame.at = plain(sign[1:-1])
            start = step.start() + (sign[0] in '"-')
            if start in wanted:
                found[start] = json_path(tuple(_step(frame.at, hidden) for frame in stack))
    return found


def _step(at: str | int, hidden: Callable[[str], str]) -> str | int:
    return hidden(at) if isinstance(at, str) else at
