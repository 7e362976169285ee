"""Survey one file line by line: what each line holds, and what only shows across lines."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from anytune.data.check import clean, scan
from anytune.data.check.clean import Size
from anytune.data.check.fault import Fault
from anytune.data.check.record import FORMS, check_record, form_of, size_of
from anytune.data.check.tally import Tally, Terms
from anytune.data.quote import Plain
from anytune.schema.data import Tokens
from anytune.schema.spec import Method

REMEMBERED = 500_000
_BYTES_PER_TOKEN = 4.1
_TOKENS_PER_MESSAGE = 4
_SPACED_KEY = re.compile(rb'"[ \t\r]++:')
_OPTIONAL_KEYS = ("tools", "parallel_tool_calls", "functions")
_decode = msgspec.json.Decoder().decode


class Survey:
    """Hold what has been seen of one file."""

    def __init__(self, terms: Terms, tally: Tally) -> None:
        self._method = terms.method
        self._tally = tally
        self._pass = clean.chat if terms.method == "sft" else clean.preference
        self._clean_form = "chat" if terms.method == "sft" else "preference"
        self._form: str | None = None
        self._key_sets: set[tuple[str, ...]] = set()
        self._first_lines: dict[int, int] = {}
        self._messages = self._content = self._longest = 0
        self.examples = 0

    def see(self, number: int, line: bytes | None) -> None:
        """Take in one line, with its number from 1; None stands for one that was too long to read."""
        if line is None:
            self.examples += 1
            self._tally.add([Fault("line-too-large")], number=number)
            return
        bare = line.strip()
        if not bare:
            self._tally.add([Fault("blank-line")], number=number, line=line)
            return
        self.examples += 1
        faults: list[Fault] = []
        size = self._pass(line)
        if size is not None:
            self._across(self._clean_form, (), faults)
        else:
            size = self._look_closely(line, faults)
        self._count(size)
        self._lines_alike(number, line, bare, faults)
        if faults:
            self._tally.add(faults, number=number, line=line)

    def tokens(self) -> Tokens:
        """Estimate the tokens of the whole file, roughly."""
        expected = _tokens(self._messages, self._content)
        return Tokens(
            low=round(expected * 0.75),
            expected=round(expected),
            high=round(expected * 1.25),
            longest=self._longest,
            basis="rough: UTF-8 bytes of the contents / 4.1, plus 4 a message; no tokenizer was used",
        )

    def _look_closely(self, line: bytes, faults: list[Fault]) -> Size:
        record = examine(line, self._method, faults)
        if record is None:
            return Size(0, 0)
        self._across(form_of(record), tuple(key for key in _OPTIONAL_KEYS if key in record), faults)
        return size_of(record)

    def _across(self, form: str | None, keys: tuple[str, ...], faults: list[Fault]) -> None:
        """Compare a record with those before it: its format, and its optional keys."""
        if form is None:
            return
        self._form = self._form or form
        if form != self._form:
            faults.append(Fault("mixed-formats", (), FORMS[form]))
        elif form == "chat" and keys not in self._key_sets:
            if self._key_sets:
                faults.append(Fault("key-sets-differ", (), Plain(", ".join(("messages", *keys)))))
            self._key_sets.add(keys)

    def _lines_alike(self, number: int, line: bytes, bare: bytes, faults: list[Fault]) -> None:
        if b"\r" in bare:
            faults.append(Fault("lone-carriage-return", offset=line.index(b"\r")))
        digest = hash(bare)  # SipHash of 64 bits, keyed anew in each process
        first = self._first_lines.get(digest)
        if first is not None:
            faults.append(Fault("duplicate-record", (), Plain(first)))
        elif len(self._first_lines) < REMEMBERED:
            self._first_lines[digest] = number

    def _count(self, size: Size) -> None:
        self._messages += size.messages
        self._content += size.content
        self._longest = max(self._longest, round(_tokens(size.messages, size.content)))


def examine(line: bytes, method: Method, faults: list[Fault]) -> dict[str, Any] | None:
    """Return the record that a line holds, None if it holds none, having added every fault of the line itself."""
    record, sound = _read(line, faults)
    if not sound:
        return None
    if not isinstance(record, dict):
        faults.append(Fault("not-an-object", (), record))
        return None
    check_record(record, method, faults)
    return record


def _tokens(messages: int, content: int) -> float:
    return content / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * messages


def _read(line: bytes, faults: list[Fault]) -> tuple[Any, bool]:
    """Return the value of a line and whether it could be read, having noted the faults of its JSON."""
    try:
        value = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_broken(line, faults)
    if _suspicious(value, line):
        found, ended = scan.faults(line)
        faults += found
        return value, not ended
    return value, True


def _read_broken(line: bytes, faults: list[Fault]) -> tuple[Any, bool]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        faults.append(Fault("not-utf-8", (), Plain(f"0x{line[error.start]:02x}"), offset=error.start))
        return None, False
    found, ended = scan.faults(line)
    faults += found or [Fault("invalid-json", (), Plain("it cannot be parsed"), offset=0)]
    if ended or not found:
        return None, False
    try:  # what the scan minds but walks past, Python's parser takes: the rest of the record can be checked
        return json.loads(text.rstrip().removesuffix(",")), True
    except (ValueError, RecursionError):
        return None, False


def _suspicious(value: Any, line: bytes) -> bool:
    """Tell whether the line may hold duplicate keys, NUL, huge integers or deep nesting."""
    keys, depth, huge = _measure(value)
    if depth > scan.DEEPEST or huge or b"\\u0000" in line:
        return True
    if b'\\\\"' in line or _SPACED_KEY.search(line):
        return True  # the count below would not see a key written so
    return line.count(b'":') - line.count(b'\\":') != keys


def _measure(value: Any) -> tuple[int, int, bool]:
    keys, depth, huge = 0, 0, False
    level = [value] if isinstance(value, dict | list) else []
    while level:
        depth += 1
        below: list[Any] = []
        for container in level:
            keys += len(container) if isinstance(container, dict) else 0
            for item in container.values() if isinstance(container, dict) else container:
                kind = type(item)
                if kind is dict or kind is list:
                    below.append(item)
                elif kind is int and not -(2**63) <= item < 2**63:
                    huge = True
        level = below
    return keys, depth, huge
