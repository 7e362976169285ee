"""Mend one line: its text first, then its record, until the check finds nothing more that may be mended."""

from __future__ import annotations

import copy
from typing import NamedTuple

from anytune.data.fix import walk
from anytune.data.fix.judge import Found, Judge
from anytune.data.fix.line import AS_IT_STANDS, CHARACTER_MENDERS, LINE_MENDERS, written
from anytune.data.fix.mender import LineMender, Mender, Path, Record, Together, one_by_one
from anytune.data.fix.table import ASKED, MENDERS, REMOVE

MOST_STEPS = 100  # a record that is not mended after so many is left as it is then
KEY = "record-key-unknown"
_CHARACTERS = frozenset(mender.code for mender in CHARACTER_MENDERS)
# Warnings for which a record is taken out all the same: it teaches nothing, or the wrong thing.
_USELESS = frozenset({"content-empty", "nothing-to-train", "outputs-equal"})


class Step(NamedTuple):
    """Be one thing that was done to a record, or that waits for agreement."""

    code: str
    what: str
    asks: bool = False
    times: int = 1
    names: tuple[str, ...] = ()


class Mended(NamedTuple):
    """Be what became of a line: None if it was removed, what was done, and what was left.

    `record` is what the line holds or held, None if it holds none or cannot be written anew without loss.
    `read` is the line before mending if keys were taken out of it unasked.
    """

    line: bytes | None
    done: list[Step]
    left: list[Step]
    record: Record | None
    read: bytes | None = None


def mend(line: bytes, judge: Judge, agreed: frozenset[str]) -> Mended:
    """Mend a line as far as it is safe or agreed."""
    read, done = line, list[Step]()
    line, record, found = _mend_text(line, judge, agreed, done)
    if record is None or AS_IT_STANDS & found.keys():
        left = _text_left(line, found, agreed)
        return _settled(Mended(line, done, left, None), found, record or {}, agreed)
    before = len(done)
    found = _mend_record(record, found, judge, agreed, done)
    if len(done) > before:
        line = written(record, like=line)
    left = _left(record, found, agreed)
    stripped = any(step.code == KEY and not step.asks for step in done)
    return _settled(Mended(line, done, left, record, read if stripped else None), found, record, agreed)


def _mend_text(
    line: bytes, judge: Judge, agreed: frozenset[str], done: list[Step]
) -> tuple[bytes, Record | None, Found]:
    """Mend the text of a line, and return it with its record and the faults that are left."""
    record, found = judge.read(line)
    for _ in range(MOST_STEPS):
        for mender in LINE_MENDERS:
            if mender.code in found and _may(mender, found, agreed):
                new = mender.mend(line)
                if new is not None and new != line:
                    done.append(Step(mender.code, mender.what, mender.asks))
                    line = new
                    break
        else:
            break
        record, found = judge.read(line)
    return line, record, found


def _text_left(line: bytes, found: Found, agreed: frozenset[str]) -> list[Step]:
    waiting = (m for m in LINE_MENDERS if m.code in found and not _may(m, found, agreed))
    return [Step(m.code, m.what, m.asks) for m in waiting if m.mend(line) not in (None, line)]


def _mend_record(record: Record, found: Found, judge: Judge, agreed: frozenset[str], done: list[Step]) -> Found:
    """Mend a record in place, and return the faults that it has then."""
    for _ in range(MOST_STEPS):
        for mender in MENDERS:
            if mender.code in found and _may(mender, found, agreed) and not judge.minds(mender.unless):
                step = _step(mender, record, found[mender.code].paths)
                if step is not None:
                    done.append(step)
                    still = _CHARACTERS & found.keys() - {mender.code}
                    found = {code: found[code] for code in still} | judge.look(record)
                    break
        else:
            break
    return found


def _step(mender: Mender, record: Record, paths: list[Path]) -> Step | None:
    """Apply a mender to every fault of its code."""
    mend = mender.mend
    names = mend.mend(record, paths) if isinstance(mend, Together) else one_by_one(mend, record, paths)
    if not names:
        return None
    return Step(mender.code, mender.what, mender.asks, len(names), tuple(filter(None, names)))


def _left(record: Record, found: Found, agreed: frozenset[str]) -> list[Step]:
    """Return what agreement to the codes that were found would mend."""
    left: list[Step] = []
    for mender in MENDERS:
        if mender.code in found and mender.asks and mender.code not in agreed and _is_due(mender, found):
            step = _step(mender, copy.deepcopy(record), found[mender.code].paths)
            left += [step] if step is not None else []
    return left


def _may(mender: Mender | LineMender, found: Found, agreed: frozenset[str]) -> bool:
    return _is_due(mender, found) and (not mender.asks or mender.code in agreed)


def _is_due(mender: Mender | LineMender, found: Found) -> bool:
    return mender.least == "warning" or found[mender.code].level == "error"


def _settled(mended: Mended, found: Found, record: Record, agreed: frozenset[str]) -> Mended:
    """Remove a record for what could not be mended, if that is agreed; else say for what it would be removed."""
    waiting = {step.code for step in mended.left}
    for code, spots in found.items():
        if code not in ASKED or not (spots.level == "error" or _is_useless(code, spots.paths, record)):
            continue
        if code in agreed:
            return Mended(None, [Step(code, REMOVE, asks=True)], [], mended.record)
        if code not in waiting:
            mended.left.append(Step(code, REMOVE, asks=True))
    return mended


def _is_useless(code: str, paths: list[Path], record: Record) -> bool:
    if code == "content-empty":
        said = [walk.message(record, path) for path in paths]
        return any(one.get("role") in ("user", "assistant") and one.get("weight") != 0 for one in said)
    return code in _USELESS
