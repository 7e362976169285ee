"""Survey a file, or a part of it, line by line: what each line holds, and what it takes to compare them later."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, count
from threading import Lock
from typing import NamedTuple
from zlib import crc32

from anytune.data.check import clean
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.line import examine
from anytune.data.check.outline import Outlines, Sort
from anytune.data.check.record import FORMS, form_of
from anytune.data.check.rows import Rows, Scratch
from anytune.data.check.seen import Seen, native, seen_in
from anytune.data.check.tally import Tally, Terms
from anytune.data.lines import Block
from anytune.data.quote import Plain

SAMPLE = 2048
_SAMPLED_AT_MOST = 1 << 18  # bytes of a line
_LATE, _EARLY = 72, 40  # bytes before the end of a line, which hang on the last answer
_LONG = 1 << 16  # bytes; a longer line may hold too much for an outline, and be clean
_PATIENCE = 16
_PAUSE = 64
TOO_LONG = 8_000_000  # bytes, about two million tokens


class Sample:
    """Keep at most SAMPLE lines of a file, chosen by what they hold: neither their order nor its parts matter.

    The parts share it, so that none keeps what another knows to be too many.
    """

    def __init__(self) -> None:
        self.mask = 0
        self.lines: list[tuple[int, bytes]] = []
        self._lock = Lock()

    def take(self, lines: list[bytes]) -> None:
        """Take those of the lines that are among the chosen: whose lot shares no bit with the mask."""
        mask = self.mask
        lots = [crc32(line[-_LATE:-_EARLY], len(line)) for line in lines]
        found = [(lot, lines[place]) for place, lot in enumerate(lots) if not lot & mask]
        self.add([(lot, line) for lot, line in found if 1 < len(line) <= _SAMPLED_AT_MOST])

    def add(self, found: list[tuple[int, bytes]]) -> None:
        """Take lines that were among the chosen a moment ago, each with its lot."""
        if not found:
            return
        with self._lock:
            self.lines += [(lot, line) for lot, line in found if not lot & self.mask]
            while len(self.lines) > SAMPLE:
                self.mask = self.mask << 1 | 1
                self.lines = [(lot, line) for lot, line in self.lines if not lot & self.mask]


class Longest(NamedTuple):
    """Be the longest of the records that were looked at by themselves, the first of several."""

    length: int
    line: int
    seen: Seen


class Survey:
    """Hold what has been seen of a part of a file."""

    def __init__(
        self, terms: Terms, scratch: Scratch, *, form: str | None = None, sample: Sample | None = None
    ) -> None:
        """Begin a part; `scratch` takes what memory cannot hold, `sample` is that of the whole file.

        `form` is the format of the file's first record that has one, None where that is not before this part.
        """
        self.method = terms.method
        self._look, self._clean_form = _CLEAN.get(terms.method, (_nothing, ""))
        self._form = form
        self._misses = self._pause = 0
        self._outlines = Outlines() if native is not None else None
        self.tally = Tally(terms)
        self.rows = Rows(scratch)
        self.sample = Sample() if sample is None else sample
        self.longest = Longest(0, 0, Seen(0, 0, 0))
        self.key_sets: dict[tuple[str, ...], Sighting] = {}
        self.lines = self.examples = self.messages = self.content = self.with_images = 0

    def take(self, block: Block) -> None:
        """Take in the lines of a block."""
        number, (offset, text, size) = self.lines + 1, block
        if text is None:
            self._too_long(number, offset)
            self.rows.add([0], [size - 1])
            self.lines = number
        elif self._outlines is not None:
            self._scan(self._outlines, memoryview(text), offset)
        else:
            self.lines += self._split(bytes(text), number, offset)

    def _scan(self, outlines: Outlines, text: memoryview, offset: int) -> None:
        """Take in some whole lines, those whose outlines are known at once."""
        while text:
            number = self.lines + 1
            read, keys, lengths, others, sampled = outlines.scan(text, self.sample.mask)
            for place, start, end, sound in others:
                line = bytes(text[start:end])
                key = outlines.find(line) if sound else None  # another line of these may have made it known
                keys[place] = self._line(line, number + place, offset + start, sound=sound) if key is None else key
            self.rows.add(keys, lengths)
            self.sample.add(sampled)
            self.lines += len(keys)
            text, offset = text[read:], offset + read

    def _split(self, text: bytes, number: int, offset: int) -> int:
        """Take in some whole lines one by one; return how many they are."""
        lines = text.removesuffix(b"\n").split(b"\n")
        starts = accumulate((len(line) + 1 for line in lines), initial=offset)
        keys = [self._line(*each) for each in zip(lines, count(number), starts, strict=False)]
        self.rows.add(keys, map(len, lines))
        self.sample.take(lines)
        return len(lines)

    def finish(self) -> None:
        """Sum up the lines, as long as others are read beside them; nothing is taken in after that."""
        if self._outlines is None:
            return
        totals, self._outlines = self._outlines.totals(), None
        self.examples += totals.examples
        self.messages += totals.messages
        self.content += totals.content
        self.with_images += totals.with_images
        self.tally.count(totals.kinds)

    def _line(self, line: bytes, number: int, offset: int, *, sound: bool = True) -> int:
        """Take in one line; return the key of its prompt, 0 if it holds no record."""
        seen = self._pass(line) if sound or len(line) > _LONG else None
        if seen is None or self._deserves_a_look(line, seen):
            seen = self._closely(line, number, offset, seen)
        else:
            self.examples += 1
            self._learn(line, seen, [])
        if seen is None:
            return 0
        self.messages += seen.messages
        self.content += seen.content
        if len(line) > self.longest.length:
            self.longest = Longest(len(line), number, seen)
        return seen.key

    def _learn(self, line: bytes, seen: Seen | None, faults: list[Fault], *, example: bool = True) -> None:
        """Let lines like this one only be counted, once enough faults of each of their kinds are shown."""
        kinds = self.tally.minded(faults)
        if self._outlines is not None and self.tally.has_shown(kinds):
            images = any(fault.code == "image-part" for fault in faults)
            self._outlines.learn(line, seen, Sort(kinds, seen.messages if seen else 0, example, images))

    def _pass(self, line: bytes) -> Seen | None:
        """Try the quick look; where it fails line after line, it is not tried for a while."""
        if self._pause:
            self._pause -= 1
            return None
        seen = self._look(line)
        if seen is None:
            self._misses += 1
            self._pause = _PAUSE if self._misses >= _PATIENCE else 0
        else:
            self._misses = 0
        return seen

    def _deserves_a_look(self, line: bytes, seen: Seen) -> bool:
        """Tell whether a clean line may differ from the lines before it, or its text be odd."""
        return (
            seen.keys not in self.key_sets
            or self._form != self._clean_form
            or line.find(b"\r", 0, -1) >= 0
            or seen.content > TOO_LONG
        )

    def _too_long(self, number: int, offset: int) -> None:
        self.examples += 1
        fault = Fault("line-too-large")
        if self.tally.counted(fault):
            self.tally.sightings.append(Sighting(fault, number, offset, 1))

    def _closely(self, line: bytes, number: int, offset: int, seen: Seen | None) -> Seen | None:
        """Find all faults of a line; return what is kept of its record, None if it holds none."""
        faults: list[Fault] = []
        bare, form = line.strip(), None
        if not bare:
            faults.append(Fault("blank-line"))
        else:
            self.examples += 1
            form = self._clean_form
            if seen is None:
                record = examine(line, self.method, faults)
                form = form_of(record) if record is not None else None
                seen = seen_in(record) if record is not None else None
            if seen is not None:
                self._across(form, seen, Sighting(Fault("key-sets-differ"), number, offset, 1), faults)
            if b"\r" in bare:
                faults.append(Fault("lone-carriage-return", offset=line.index(b"\r")))
        if faults:
            self.with_images += any(fault.code == "image-part" for fault in faults)
            self.tally.add(faults, line=line, number=number, start=offset)
        if form in (None, self._form):
            self._learn(line, seen, faults, example=bool(bare))
        return seen

    def _across(self, form: str | None, seen: Seen, sighting: Sighting, faults: list[Fault]) -> None:
        """Compare a record with those before it: its format, its optional keys."""
        if seen.content > TOO_LONG:
            faults.append(Fault("example-too-long", (), Plain(f"{seen.content / 1e6:.0f} MB")))
        if form is None:
            return
        self._form = self._form or form
        if form != self._form:
            faults.append(Fault("mixed-formats", (), FORMS[form]))
        elif form == "chat" and seen.keys not in self.key_sets:
            said = Plain(", ".join(("messages", *seen.keys)))
            self.key_sets[seen.keys] = sighting._replace(fault=Fault("key-sets-differ", (), said))

    def merge(self, other: Survey) -> None:
        """Take in the survey of the part that follows."""
        self.tally.merge(other.tally, lines=self.lines)
        self.rows.merge(other.rows)
        for keys, seen in other.key_sets.items():
            self.key_sets.setdefault(keys, seen._replace(line=(seen.line or 0) + self.lines))
        if other.longest.length > self.longest.length:
            self.longest = other.longest._replace(line=other.longest.line + self.lines)
        self.lines += other.lines
        self.examples += other.examples
        self.messages += other.messages
        self.content += other.content
        self.with_images += other.with_images


def _nothing(line: bytes) -> Seen | None:
    del line
    return None


_CLEAN: dict[str, tuple[Callable[[bytes], Seen | None], str]] = {
    "sft": (clean.chat, "chat"),
    "dpo": (clean.preference, "preference"),
}
