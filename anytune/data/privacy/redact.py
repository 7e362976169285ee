"""Write a copy of a file in which each private value is a placeholder such as <EMAIL_1>."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anytune.data.aside import aside
from anytune.data.lines import Lines
from anytune.data.privacy.escape import Origins
from anytune.data.privacy.kind import chosen
from anytune.data.privacy.line import Line, Piece, decoded, encoded, is_json
from anytune.data.privacy.number import compact
from anytune.data.privacy.report import PLACEHOLDER, Finding
from anytune.data.privacy.scan import LONGEST, Looker, Tally, opened
from anytune.data.privacy.text import Finder
from anytune.errors import RefusedError, UsageError
from anytune.schema.data import PrivacyReport

_BY_LETTERS = frozenset({"phone", "card", "iban", "national-id"})  # the same however they are grouped


def redact(
    path: str | Path,
    out: str | Path,
    *,
    kinds: Iterable[str] | None = None,
    names: Finder | None = None,
    force: bool = False,
) -> PrivacyReport:
    """Write the copy and report what was replaced; a value has the same number throughout one record.

    Records without findings are copied byte for byte; in the others only the values change. A number that is no string
    becomes one. Raise what `scan` raises, UsageError where `out` exists (unless `force`), RefusedError where a line
    is too long to look at: then nothing is written.
    """
    path, out = Path(path), Path(out)
    _refuse_taken(out, path, force=force)
    looker = Looker(chosen(kinds), names=names)
    tally = Tally(path, looker)
    with opened(path) as stream, aside(out) as copy:
        lines, taken = Lines(stream, longest=LONGEST), 0
        for number, line in lines:
            if line is None:
                what = f"{path}:{number}: the line is too long to be looked at"
                raise RefusedError(what, fix="mend or remove the line")
            tally.see([line])
            copy.write(b"\n" if taken else b"")
            copy.write(_redacted(Line(number, taken, line), looker, tally))
            taken += len(line) + 1
        copy.write(b"\n" if taken and taken == lines.size else b"")
        return tally.report(lines.size)


def _refuse_taken(out: Path, path: Path, *, force: bool) -> None:
    """Raise UsageError if the copy exists, or stands where that cannot be told."""
    try:
        taken = out.exists() and (not force or not out.is_file() or (path.exists() and out.samefile(path)))
    except OSError as error:
        fix = "name a file for the copy in a folder that you may write to"
        raise UsageError(f"{out} cannot be written: {error.strerror or error}", fix=fix) from None
    if taken:
        raise UsageError(f"{out} exists", fix="name another file for the copy")


def _redacted(line: Line, looker: Looker, tally: Tally) -> bytes:
    """Return the line without its findings; what only their absence reveals goes, too."""
    found = looker.look(line.text)
    if not found:
        return line.text
    tally.add(line, found)
    named = _Numbers(line.text)
    text = _replaced(line.text, found, named)
    while found := looker.look(text):
        tally.count(Line(line.number, None, text), found)
        text = _replaced(text, found, named)
    return text


class _Numbers:
    """Number the values of one record by kind, above the placeholders that it holds already."""

    def __init__(self, line: bytes) -> None:
        self._last: dict[str, int] = {}
        self._known: dict[tuple[str, str], str] = {}
        for held in PLACEHOLDER.finditer(decoded(line)):
            self._last[held[1]] = max(int(held[2]), self._last.get(held[1], 0))

    def placeholder(self, kind: str, value: str) -> str:
        key = (kind, compact(value) if kind in _BY_LETTERS else value.casefold() if kind == "email" else value)
        if key not in self._known:
            word = kind.upper().replace("-", "_")
            self._last[word] = self._last.get(word, 0) + 1
            self._known[key] = f"<{word}_{self._last[word]}>"
        return self._known[key]


def _replaced(line: bytes, found: list[tuple[Piece, list[Finding]]], named: _Numbers) -> bytes:
    raw = decoded(line)
    is_whole = not is_json(line)
    parts: list[str] = []
    at = 0
    for piece, findings in found:
        if piece.is_number:
            start = piece.start - (raw[piece.start - 1 : piece.start] == "-")
            parts += [raw[at:start], f'"{named.placeholder(findings[0].kind, piece.text)}"']
            at = piece.end
            continue
        offsets = range(len(piece.text) + 1) if is_whole else Origins(raw[piece.start : piece.end])
        for finding in findings:
            placeholder = named.placeholder(finding.kind, piece.text[finding.start : finding.end])
            parts += [raw[at : piece.start + offsets[finding.start]], placeholder]
            at = piece.start + offsets[finding.end]
    return encoded("".join([*parts, raw[at:]]))
