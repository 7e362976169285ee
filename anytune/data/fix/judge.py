"""Ask the check what is wrong: the one place that knows its inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from anytune.data.check import clean
from anytune.data.check.fault import Fault
from anytune.data.check.line import examine
from anytune.data.check.record import check_record, form_of
from anytune.data.check.rules import Minded, minded
from anytune.data.check.seen import seen_in
from anytune.data.check.survey import TOO_LONG
from anytune.data.fix.mender import Path, Record
from anytune.schema.data import DataMethod, Level

_QUICK = {"sft": clean.chat, "dpo": clean.preference}


class Spots(NamedTuple):
    """Be where a code was found in one record, and how the strictest provider takes it there."""

    level: Level
    paths: list[Path]


Found = dict[str, Spots]


class Judge(NamedTuple):
    """Tell what the chosen providers mind in lines and records under a method."""

    minded: Mapping[str, Minded]
    method: DataMethod

    def minds(self, code: str) -> bool:
        """Tell whether anyone minds a code."""
        return code in self.minded

    def level(self, code: str) -> Level:
        """Return how the strictest provider takes a code."""
        return self.minded[code].level if code in self.minded else "warning"

    def passes(self, line: bytes) -> bool:
        """Tell quickly that a line is surely without fault."""
        quick = _QUICK.get(self.method)
        return quick is not None and len(line) <= TOO_LONG and quick(line) is not None

    def read(self, line: bytes) -> tuple[Record | None, Found]:
        """Return the record of a line, None if it holds none, and its faults."""
        faults: list[Fault] = []
        record = examine(line, self.method, faults)
        if record is not None and len(line) > TOO_LONG and seen_in(record).content > TOO_LONG:
            faults.append(Fault("example-too-long"))
        return record, self._found(faults)

    def look(self, record: Record) -> Found:
        """Return a record's faults."""
        faults: list[Fault] = []
        check_record(record, self.method, faults)
        return self._found(faults)

    def form(self, record: Record) -> str | None:
        """Name the format of a record."""
        return form_of(record)

    def _found(self, faults: list[Fault]) -> Found:
        found: Found = {}
        for fault in faults:
            minds = self.minded[fault.code].narrowed(fault.among) if fault.code in self.minded else None
            if minds is None:
                continue
            earlier = found.setdefault(fault.code, Spots(minds.level, []))
            earlier.paths.append(fault.path)
            if minds.level == "error" and earlier.level == "warning":
                found[fault.code] = Spots("error", earlier.paths)
        return found


def judge(providers: tuple[str, ...], method: DataMethod) -> Judge:
    """Return the judge who stands for these providers."""
    return Judge(minded(tuple(providers), method), method)
