"""Mend a file into a new one, in one pass and in little memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import msgspec

from anytune.data.aside import aside
from anytune.data.check import BUILT_IN, check
from anytune.data.check.rules import RULES
from anytune.data.fix.apart import apart
from anytune.data.fix.fixed import Fixed
from anytune.data.fix.judge import Judge, judge
from anytune.data.fix.key import is_example
from anytune.data.fix.lost import lost
from anytune.data.fix.record import KEY, Mended, Step, mend
from anytune.data.fix.seen import Seen
from anytune.data.fix.source import Source
from anytune.data.fix.table import FOREIGN, REMOVE
from anytune.data.fix.tally import Tally
from anytune.data.input import ONE_A_LINE, blank, opened
from anytune.errors import RefusedError, UsageError
from anytune.schema.data import DataMethod

_BLANK = Step("blank-line", "remove blank lines")
_LINE_END = Step("line-end", "end lines with a line feed and nothing else")
_AGAIN = Step("duplicate-record", "remove a record that stands there already")
_DIFFERS = Step(KEY, "remove a record that differs from another in what its unknown keys say only", asks=True)
_MIXED = Step("mixed-formats", REMOVE, asks=True)
_TOO_LARGE = Step("line-too-large", REMOVE, asks=True)
_decode = msgspec.json.Decoder().decode


def fix(
    path: Path,
    *,
    providers: tuple[str, ...] = BUILT_IN,
    method: DataMethod = "sft",
    out: Path,
    agreed: frozenset[str] = frozenset(),
) -> Fixed:
    """Write a mended copy of a file to `out` and check it.

    Mends what one of the providers minds: what is safe at once, what changes meaning only for the codes in
    `agreed` (`ASKED` is all of them). Lines that need nothing are copied byte for byte, but for their ends. Raises
    `UsageError` where `out` is the file itself, `RefusedError` where it cannot be read, nothing would be left or
    it first has to be converted, `AnytuneError` where `out` cannot be written; then nothing is written. Nor is
    it where there was nothing to mend: `out` of the report is None then, and its check that of the file itself.
    """
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"{out} is the file itself", fix="write the new file under another name")
    run = _Run(judge(providers, method), agreed)
    try:
        with aside(out) as file:
            file.writelines(run.lines(path))
            if not run.has_mended:
                raise _NothingError
    except _NothingError:
        return run.fixed(path, checked=path, providers=providers)
    return run.fixed(path, out=out, checked=out, providers=providers)


def foresee(
    path: Path,
    *,
    providers: tuple[str, ...] = BUILT_IN,
    method: DataMethod = "sft",
    agreed: frozenset[str] = frozenset(),
) -> Fixed:
    """Say what `fix` would do, writing nothing."""
    run = _Run(judge(providers, method), agreed)
    deque(run.lines(path), maxlen=0)
    return run.fixed(path, providers=providers)


class _NothingError(Exception):
    """Take back a new file that would be a copy."""


class _Run:
    """Hold what one pass over a file has met."""

    def __init__(self, judge: Judge, agreed: frozenset[str]) -> None:
        self._judge = judge
        self._agreed = agreed
        self._done = Tally(judge.level)
        self._left = Tally(judge.level)
        self._seen = Seen()
        self._stripped = Seen()
        self._strange = self._strange_gone = 0
        self._form: str | None = None
        self._records = self._written = 0

    def lines(self, path: Path) -> Iterator[bytes]:
        """Yield the lines of the new file; raise `RefusedError` at the end if there are none to train on."""
        with opened(path) as stream:
            source = Source(stream)
            for number, line in source:
                for mended in self._mended(number, line):
                    self._records += 1
                    if (new := self._kept(number, mended)) is not None:
                        self._written += 1
                        yield new + b"\n"
        self._done.add(source.steps)
        self._refuse(path)

    @property
    def has_mended(self) -> bool:
        """Tell whether anything was done."""
        return bool(self._done.changes())

    def fixed(
        self, path: Path, *, providers: tuple[str, ...], out: Path | None = None, checked: Path | None = None
    ) -> Fixed:
        """Return the report of the pass, with a check of one file if there is one."""
        method = self._judge.method
        return Fixed(
            path=path,
            out=out,
            records=self._records,
            written=self._written,
            removed=self._records - self._written,
            done=self._done.changes(),
            left=self._left.changes(),
            report=check([checked], providers=providers, method=method) if checked is not None else None,
        )

    def _mended(self, number: int, line: bytes | None) -> Iterator[Mended]:
        if line is None:
            yield self._too_large(number)
            return
        bare = line.strip()
        if not bare:
            self._done.add([_BLANK], number)
            return
        if len(bare) != len(line):
            self._done.add([_LINE_END], number)
        if b"\r" not in bare and self._judge.passes(bare):
            yield Mended(bare, [], [], _decode(bare))
            return
        pieces, steps = apart(bare)
        self._done.add(steps, number)
        for piece in pieces:
            yield from self._again_apart(piece, mend(piece, self._judge, self._agreed))

    def _again_apart(self, piece: bytes, mended: Mended) -> Iterator[Mended]:
        """Take apart what only became readable when it was mended."""
        pieces, steps = apart(mended.line) if mended.line is not None and mended.line != piece else ([], [])
        if not steps:
            yield mended
            return
        done = [*mended.done, *steps]
        for part in pieces:
            again = mend(part, self._judge, self._agreed)
            yield again._replace(done=[*done, *again.done])
            done = []

    def _too_large(self, number: int) -> Mended:
        if _TOO_LARGE.code not in self._agreed:
            raise RefusedError(f"line {number} is longer than 128 MiB", fix="agree to its removal (-y), or split it")
        return Mended(None, [_TOO_LARGE], [], None)

    def _kept(self, number: int, mended: Mended) -> bytes | None:
        """Return the line if it is to be written, and count what was done to it or left."""
        mended = self._like_the_first(mended)
        self._count_strange(mended)
        if mended.line is not None and self._judge.minds(_AGAIN.code):
            mended = self._once(mended)
        self._done.add(mended.done, number)
        self._left.add(mended.left, number)
        return mended.line

    def _once(self, mended: Mended) -> Mended:
        """Take out a record that stands there already; leave one whose difference was in keys that went."""
        stood = mended.read is not None and not self._stripped.add(mended.read)
        if self._seen.add(_digestible(mended)):
            return mended
        if stood or mended.read is None or mended.record is None or not lost(mended.read, mended.record):
            return Mended(None, [_AGAIN], [], None)
        if KEY in self._agreed:
            return Mended(None, [_DIFFERS], [], None)
        return Mended(mended.read, [], [_DIFFERS], None)

    def _count_strange(self, mended: Mended) -> None:
        """Count records in which no format has its example."""
        if mended.record and not is_example(mended.record):
            self._strange += 1
            self._strange_gone += mended.line is None

    def _like_the_first(self, mended: Mended) -> Mended:
        """Take out a record in another format than the first one, if that is agreed."""
        form = self._judge.form(mended.record) if mended.line is not None and mended.record is not None else None
        self._form = self._form or form
        if form == self._form or form is None or not self._judge.minds(_MIXED.code):
            return mended
        if _MIXED.code in self._agreed:
            return Mended(None, [_MIXED], [], None)
        return mended._replace(left=[*mended.left, _MIXED])

    def _refuse(self, path: Path) -> None:
        """Refuse a file that has to be converted as a whole, or of which nothing would be left."""
        if not self._records:
            raise blank(path) if self._done.count(*_BLANK[:2]) else RefusedError(f"{path}: no records", fix=ONE_A_LINE)
        self._refuse_foreign(path)
        if 2 * self._strange > self._written + self._strange_gone:
            told = f"{self._strange:,} of {self._records:,} records have a shape that no provider knows"
            raise RefusedError(told, fix=f"anytune convert {quote(str(path))}")
        if not self._written:
            raise RefusedError("no record would be left", fix=f"anytune check {quote(str(path))}")

    def _refuse_foreign(self, path: Path) -> None:
        """Refuse a file that is mostly in another format, as it stands or as it would be written.

        What would be written counts too: with other records gone, the same command would refuse its own file.
        """
        left = {code: self._left.count(code, REMOVE) for code in FOREIGN}
        whole = {code: left[code] + self._done.count(code, REMOVE) for code in FOREIGN}
        for foreign, of, records in ((whole, self._records, "records"), (left, self._written, "records to be written")):
            code = max(sorted(foreign), key=foreign.__getitem__)
            if 2 * foreign[code] > of:
                told = f"{foreign[code]:,} of {of:,} {records} cannot be mended here: {code}"
                fix = RULES[code].fix if code == "wrong-method" else f"anytune convert {quote(str(path))}"
                raise RefusedError(told, reasons=(RULES[code].why,), fix=fix)


def _digestible(mended: Mended) -> bytes:
    """Return bytes that are equal for equal records, whatever the order of their keys."""
    if mended.record is None:
        return mended.line or b""
    try:
        return msgspec.json.encode(mended.record, order="deterministic")
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
        return json.dumps(mended.record, sort_keys=True).encode()
