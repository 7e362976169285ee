"""Walk one line of JSON by hand, without recursion: exact faults of syntax, and where each value stands.

Slow next to msgspec, so it sees only lines that msgspec refused or that look suspicious, and those whose
issues are shown. What there is nothing to say of it passes at one match: a plain member or element, and, where it
looks for places, a whole value in which none of them is.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Set
from typing import NamedTuple, NoReturn

from anytune.data.check import pattern
from anytune.data.check.fault import Fault, Path
from anytune.data.check.sound import DEEPEST
from anytune.data.check.wanted import Wanted, tree
from anytune.data.quote import Plain

_MOST_STEPS = 3_000_000
_NEVER = b"\0"  # stands nowhere in JSON, and ends a walk


class _BrokenError(Exception):
    """End the walk at a fault that leaves no sense in the rest."""


class _Frame:
    """Be one open object (with the keys seen) or list (keys None), and what is wanted in it."""

    __slots__ = ("count", "keys", "wanted")

    def __init__(self, keys: set[str] | None, wanted: Wanted | None) -> None:
        self.keys = keys
        self.wanted = wanted
        self.count = 0

    def below(self, step: str | int) -> Wanted | None:
        return self.wanted.below.get(step) if self.wanted else None


class Place(NamedTuple):
    """Hold the byte offsets of a value and of its key; a list's element has no key."""

    key: int | None
    value: int


def faults(line: bytes) -> tuple[list[Fault], bool]:
    """Return the faults of the JSON itself, and whether the walk ended early at one of them."""
    walk = _Walk(line, None)
    try:
        walk.run()
    except _BrokenError:
        return walk.faults, True
    return walk.faults, False


def places(line: bytes, wanted: Set[Path]) -> dict[Path, Place]:
    """Return where the wanted paths stand, in one walk; a path behind broken JSON may be left out."""
    walk = _Walk(line, tree(wanted))
    with contextlib.suppress(_BrokenError):
        walk.run()
    return walk.places


def path_at(line: bytes, offset: int) -> Path:
    """Return the path of the value in which a byte stands; of the object or list, if it stands between two values."""
    before = line[:offset].decode(errors="replace").encode()
    found, ended = faults(before + _NEVER)
    return found[-1].path if ended else ()


class _Walk:
    """Walk a line for its faults, or for the places of what is `wanted`, and then past all else."""

    def __init__(self, line: bytes, wanted: Wanted | None) -> None:
        self.line = line.rstrip(b"\r")  # the line's end, which is no text of the record
        self.wanted = wanted
        self.at = 0
        self.path: list[str | int] = []
        self.stack: list[_Frame] = []
        self.faults: list[Fault] = []
        self.places: dict[Path, Place] = {}

    def run(self) -> None:
        self._value(None, self.wanted)
        if self.wanted and not self.wanted.below:
            return
        for _ in range(_MOST_STEPS):
            if not self.stack:
                self._end()
                return
            frame = self.stack[-1]
            found = (pattern.ELEMENT if frame.keys is None else pattern.MEMBER).match(self.line, self.at)
            if not found or not self._quickly(frame, found):
                self._step(frame)

    def _quickly(self, frame: _Frame, found: re.Match[bytes]) -> bool:
        """Take a member or an element that is plain, or as far as its object or list begins; else return False."""
        end = found.end()
        opens = found["value"] is None
        if bool(found["comma"]) != bool(frame.count) or (opens and self.line[end : end + 1] not in (b"{", b"[")):
            return False
        step: str | int = frame.count
        key = None
        if frame.keys is not None:
            key = found.start("key") - 1
            step = self._known(found["key"].decode(), frame.keys, key)
        frame.count += 1
        wanted = frame.wanted and frame.wanted.below.get(step)
        self.at = end
        if opens:
            self.path.append(step)
            self._value(key, wanted)
        elif wanted:
            self._place(wanted, key, found.start("value"))
        return True

    def _known(self, key: str, keys: set[str], start: int) -> str:
        if key in keys:
            self.path.append(key)
            self._note("duplicate-key", key, start)
            self.path.pop()
        keys.add(key)
        return key

    def _step(self, frame: _Frame) -> None:
        closing = b"]" if frame.keys is None else b"}"
        if self._peek() == closing:
            self._close()
            return
        if frame.count:
            if self._peek() != b",":
                self._broken(f"a comma or {closing.decode()} is missing")
            self.at += 1
            if self._peek() == closing:
                self._broken(f"a comma before {closing.decode()}")
        frame.count += 1
        if frame.keys is None:
            self.path.append(frame.count - 1)
            self._value(None, frame.below(frame.count - 1))
        else:
            self._member(frame, frame.keys)

    def _member(self, frame: _Frame, keys: set[str]) -> None:
        if self._peek() != b'"':
            self._broken("a key in double quotes is missing")
        start = self.at
        key = self._known(json.loads(self._string().decode()), keys, start)
        self.path.append(key)
        if self._peek() != b":":
            self._broken("a colon is missing after the key")
        self.at += 1
        self._value(start, frame.below(key))

    def _value(self, key: int | None, wanted: Wanted | None) -> None:
        first = self._peek()
        if wanted:
            self._place(wanted, key, self.at)
        if first in (b"{", b"["):
            if len(self.stack) == DEEPEST:
                self._note("nested-too-deep", None, self.at)
                raise _BrokenError
            if not self._past(wanted):
                self.stack.append(_Frame(set() if first == b"{" else None, wanted))
                self.at += 1
                return
        elif first == b'"':
            self._string()
        else:
            self._scalar()
        if self.path:
            self.path.pop()

    def _past(self, wanted: Wanted | None) -> bool:
        """Pass over a whole object or list in which nothing is wanted; return False where it has to be walked."""
        found = pattern.WHOLE.match(self.line, self.at) if self.wanted and not (wanted and wanted.below) else None
        if not found:
            return False
        self.at = found.end()
        return True

    def _place(self, wanted: Wanted, key: int | None, value: int) -> None:
        if wanted.path is not None:
            self.places[wanted.path] = Place(key, value)  # of equal keys, parsers keep the last

    def _close(self) -> None:
        self.at += 1
        self.stack.pop()
        if self.path:
            self.path.pop()

    def _string(self) -> bytes:
        start = self.at
        found = pattern.STRING.match(self.line, start)
        self.at = found.end() if found else start
        last = self.line[self.at : self.at + 1]
        if last == b"\\":
            self._broken("an escape that JSON does not have")
        if not last:
            self._broken("a string is not closed")
        if last != b'"':
            self._broken("a raw control character in a string")
        self.at += 1
        text = self.line[start : self.at]
        if b"\\u" in text and pattern.ODD_ESCAPE.search(text):
            self._escapes(text, start)
        return text

    def _escapes(self, text: bytes, start: int) -> None:
        """Note the first half character and the first NUL of a string."""
        found: dict[str, re.Match[bytes]] = {}
        kinds = 2 if b"\\u0000" in text else 1
        high: re.Match[bytes] | None = None
        for escape in pattern.ESCAPE.finditer(text):
            code = int(escape[1], 16) if escape[1] else -1
            low = 0xDC00 <= code <= 0xDFFF
            paired = low and high is not None and escape.start() == high.end()
            if high and not paired:
                found.setdefault("lone-surrogate", high)
            if low and not paired:
                found.setdefault("lone-surrogate", escape)
            if code == 0:
                found.setdefault("nul-character", escape)
            high = escape if 0xD800 <= code <= 0xDBFF else None
            if len(found) == kinds:
                break
        if high:
            found.setdefault("lone-surrogate", high)
        for kind, escape in found.items():
            self._note(kind, Plain(escape[0].decode()), start + escape.start())

    def _scalar(self) -> None:
        if found := pattern.SCALAR.match(self.line, self.at):
            text = found[0]
            if pattern.MORE_OF_SCALAR.match(self.line, found.end()):
                self._broken("a number or a word that JSON does not have")
            if text[0] not in b"tfn" and _is_out_of_range(text):
                shown = text[:20].decode() + ("…" if len(text) > 20 else "")
                self._note("number-out-of-range", Plain(shown), self.at)
        elif found := pattern.NOT_FINITE.match(self.line, self.at):
            self._note("nan-or-infinity", Plain(found[0].decode()), self.at)
        elif self.at >= len(self.line):
            self._broken("it ends too early")
        elif pattern.PYTHON.match(self.line, self.at):
            self._broken("this is how Python writes it, not JSON")
        else:
            self._broken(f"a value is missing{_unseen(self.line, self.at)}")
        self.at = found.end()

    def _end(self) -> None:
        rest = self._peek()
        if rest == b"," and not self.line[self.at + 1 :].strip():
            self._note("trailing-comma", None, self.at)
        elif rest:
            self._broken("more text follows after the value" + (": another object" if rest == b"{" else ""))

    def _peek(self) -> bytes:
        space = pattern.SPACE.match(self.line, self.at)
        self.at = space.end() if space else self.at
        return self.line[self.at : self.at + 1]

    def _note(self, code: str, value: object, offset: int) -> None:
        self.faults.append(Fault(code, tuple(self.path), value, offset=offset))

    def _broken(self, what: str) -> NoReturn:
        self._note("invalid-json", Plain(what), self.at)
        raise _BrokenError


def _is_out_of_range(number: bytes) -> bool:
    if not number.lstrip(b"-").isdigit():
        return math.isinf(float(number))
    return len(number) > 18 and (len(number) > 20 or not -(2**63) <= int(number) < 2**64)


def _unseen(line: bytes, at: int) -> str:
    """Name the character at a place if it shows nothing, such as a byte order mark or a no-break space."""
    first = line[at : at + 4].decode(errors="ignore")[:1]
    return f"; U+{ord(first):04X}, which shows nothing, stands there" if first and not first.isprintable() else ""
