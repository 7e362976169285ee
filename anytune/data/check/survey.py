"""Survey a file, or a part of it, line by line: what each line holds, and what it takes to compare them later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from zlib import crc32

from anytune.data.check import clean
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.frame import Found, Frames, counted
from anytune.data.check.line import examine
from anytune.data.check.record import FORMS, form_of
from anytune.data.check.rows import Rows
from anytune.data.check.seen import Seen, seen_in
from anytune.data.check.tally import Tally, Terms
from anytune.data.lines import Block
from anytune.data.quote import Plain

SAMPLE = 2048
_SAMPLED_AT_MOST = 1 << 18  # bytes of a line
_LATE, _EARLY = 72, 40  # bytes before the end of a line, which hang on the last answer
_AT_ONCE = 1 << 18
_PATIENCE = 16
_PAUSE = 64
TOO_LONG = 8_000_000  # bytes, about two million tokens


class Sample:
    """Keep at most SAMPLE lines, chosen by what they hold: neither their order nor the parts of the file matter."""

    def __init__(self) -> None:
        self.mask = 0
        self.lines: list[tuple[int, bytes]] = []

    def take(self, lines: list[bytes]) -> None:
        """Take those of the lines that are among the chosen: whose lot shares no bit with the mask."""
        mask = self.mask
        lots = [crc32(line[-_LATE:-_EARLY], len(line)) for line in lines]
        found = [(lot, lines[place]) for place, lot in enumerate(lots) if not lot & mask]
        self.lines += [(lot, line) for lot, line in found if 1 < len(line) <= _SAMPLED_AT_MOST]
        while len(self.lines) > SAMPLE:
            self._thin(self.mask << 1 | 1)

    def merge(self, other: Sample) -> None:
        """Take over the sample of another part."""
        self.lines += other.lines
        self._thin(max(self.mask, other.mask))
        while len(self.lines) > SAMPLE:
            self._thin(self.mask << 1 | 1)

    def _thin(self, mask: int) -> None:
        self.mask = mask
        self.lines = [(lot, line) for lot, line in self.lines if not lot & mask]


class Survey:
    """Hold what has been seen of a part of a file."""

    def __init__(self, terms: Terms, folder: Path, *, form: str | None = None) -> None:
        """Begin a part; `form` is the format of the file's first record, `folder` takes what is too much for memory."""
        self.method = terms.method
        self._look, self._clean_form = _CLEAN.get(terms.method, (_nothing, ""))
        self._form = form
        self._misses = self._pause = 0
        self._frames = Frames()
        self.tally = Tally(terms)
        self.rows = Rows(folder)
        self.sample = Sample()
        self.key_sets: dict[tuple[str, ...], Sighting] = {}
        self.lines = self.examples = self.messages = self.content = self.with_images = 0

    def take(self, block: Block) -> None:
        """Take in the lines of a block."""
        number, offset, text, _ = block
        if text is None:
            self._too_long(number, offset)
            self.rows.add([0], [block.size - 1])
            self.lines = number
            return
        start = 0
        while start < len(text):
            end = text.rfind(b"\n", start, start + _AT_ONCE) + 1 or text.find(b"\n", start) + 1 or len(text)
            number += self._take(text[start:end], number, offset + start)
            start = end
        self.lines = number - 1

    def _take(self, text: bytes, number: int, offset: int) -> int:
        """Take in some whole lines, at once those that are plain and clean; return how many they are."""
        lines = text.removesuffix(b"\n").split(b"\n")
        keys = [0] * len(lines)
        others: Iterable[int] = range(len(lines))
        if len(text) <= TOO_LONG and (found := self._frames.find(text, lines, self._told)) is not None:
            others = self._framed(found, keys)
        if others:
            before = [*accumulate(map(len, lines), initial=offset)]  # without line feeds
            for place in others:
                keys[place] = self._line(lines[place], number + place, before[place] + place)
        self.rows.add(keys, map(len, lines))
        self.sample.take(lines)
        return len(lines)

    def _framed(self, found: Found, keys: list[int]) -> list[int]:
        """Take in the lines whose frames are known, with their keys; return the places of the others."""
        for place, key in zip(found.places, found.keys, strict=True):
            keys[place] = key
        self.examples += len(found.places)
        self.messages += found.messages
        self.content += found.content
        for codes, number in counted(found.frames).items():
            for code in codes:
                self.tally.counts[code] += number
        return sorted({*range(len(keys))}.difference(found.places)) if len(found.places) < len(keys) else []

    def _told(self, codes: tuple[str, ...]) -> bool:
        """Tell whether faults need only be counted, since enough of each are shown."""
        return all(self.tally.counts[code] >= self.tally.terms.show for code in codes)

    def _line(self, line: bytes, number: int, offset: int) -> int:
        """Take in one line; return the key of its prompt, 0 if it holds no record."""
        seen = self._pass(line)
        if seen is None or self._deserves_a_look(line, seen):
            seen = self._closely(line, number, offset, seen)
        else:
            self.examples += 1
            if "tools" not in seen.keys and self._clean_form == "chat":
                self._frames.learn(line, None, seen, ())
        if seen is None:
            return 0
        self.messages += seen.messages
        self.content += seen.content
        return seen.key

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
        bare = line.strip()
        if not bare:
            faults.append(Fault("blank-line"))
        else:
            self.examples += 1
            form: str | None = self._clean_form
            record = None
            if seen is None:
                record = examine(line, self.method, faults)
                form = form_of(record) if record is not None else None
                seen = seen_in(record) if record is not None else None
            if seen is not None:
                self._across(form, seen, Sighting(Fault("key-sets-differ"), number, offset, 1), faults)
            if b"\r" in bare:
                faults.append(Fault("lone-carriage-return", offset=line.index(b"\r")))
            if seen is not None and form == "chat" == self._form:
                self._frames.learn(line, record, seen, self.tally.minded(faults))
        if faults:
            self.with_images += any(fault.code == "image-part" for fault in faults)
            self.tally.add(faults, line=line, number=number, start=offset)
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
        self.sample.merge(other.sample)
        for keys, seen in other.key_sets.items():
            self.key_sets.setdefault(keys, seen._replace(line=(seen.line or 0) + self.lines))
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
