"""Check files of examples: every fault in one run, before a byte leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import Event
from typing import BinaryIO, NamedTuple, get_args

from anytune.data import sniff
from anytune.data.check import parts
from anytune.data.check.amount import MOST_BYTES, check_amount, size_faults
from anytune.data.check.asker import Asker, Looks, make_ready
from anytune.data.check.compare import compare, longest
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.further import NOTHING, Wish
from anytune.data.check.line import record_in
from anytune.data.check.record import form_of
from anytune.data.check.rows import Scratch
from anytune.data.check.rules import RULES
from anytune.data.check.seen import Seen, seen_in
from anytune.data.check.statistic import statistics
from anytune.data.check.survey import Sample, Survey
from anytune.data.check.tally import Tally, Terms, together
from anytune.data.lines import Block, Lines
from anytune.data.quote import Plain
from anytune.errors import UsageError
from anytune.schema.data import DataFile, DataMethod, DataReport, FileReport, Issue, Role, Statistics, Tokens

METHODS = get_args(DataMethod)
BUILT_IN = ("openai", "together", "fireworks", "local")
_OF_TEXT = frozenset({"csv", "json-array", "pretty-printed", "carriage-return-ends"})
_LOOKED_AT = 16 << 20
_STEP = 1 << 20  # bytes that a thread reads without the interpreter, which the others wait for meanwhile


def check(
    paths: Mapping[Role, Path] | Sequence[Path],
    *,
    providers: tuple[str, ...] = BUILT_IN,
    method: DataMethod = "sft",
    ignore: frozenset[str] = frozenset(),
    show: int = 20,
    workers: int | None = None,
    wish: Wish = NOTHING,
) -> DataReport:
    """Report every fault that one of the providers minds.

    A mapping says which role each file plays; files of a sequence count as training files. The codes in
    `ignore` are neither counted nor shown; `show` bounds the issues of one code in a file, never the counts. Large
    files are read by two threads unless `workers` is 1; the report is the same. A `wish` looks further: at tokens,
    leaks, likeness, private data.
    A missing or broken file is an issue of the report, not an exception; an unknown code in `ignore` is a
    UsageError.
    """
    asker = Asker(providers, ignore, wish)
    return check_each(paths, {"": asker}, method=method, show=show, workers=workers)[""]


def check_each(
    paths: Mapping[Role, Path] | Sequence[Path],
    askers: Mapping[str, Asker],
    *,
    method: DataMethod = "sft",
    show: int = 20,
    workers: int | None = None,
) -> dict[str, DataReport]:
    """Report to each asker by name what `check` would tell it alone, each file being read once for all of them."""
    _refuse_unknown(method, frozenset().union(*(asker.ignore for asker in askers.values())))
    asked = {name: (asker.terms(method, show), asker.wish) for name, asker in askers.items()}
    files: list[tuple[Role, Path]] = (
        list(paths.items()) if isinstance(paths, Mapping) else [("train", path) for path in paths]
    )
    union = together((terms for terms, _ in asked.values()), method, show)
    with ExitStack() as opened:
        found = [_read_file(role, Path(path), Tally(union), workers, opened) for role, path in files]
        make_ready([read.looks for read, _ in found if read.looks], [wish for _, wish in asked.values()])
        return {
            name: DataReport(files=tuple(_told(read, whole.narrowed(terms), wish) for read, whole in found))
            for name, (terms, wish) in asked.items()
        }


def _refuse_unknown(method: str, ignore: frozenset[str]) -> None:
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", fix=f"choose one of {', '.join(METHODS)}")
    for code in sorted(ignore - RULES.keys()):
        near = next(iter(get_close_matches(code, RULES, n=1)), None)
        raise UsageError(f"there is no rule {code}", fix=f"did you mean {near}?" if near else "write it as reports do")


def _read_file(role: Role, path: Path, whole: Tally, workers: int | None, opened: ExitStack) -> tuple[_Read, Tally]:
    """Read a file under the terms of all; return how far it could be read, and all that is wrong with it."""
    read = None
    with _telling(whole):
        if "\0" in str(path):
            whole.whole(Fault("file-missing"))
        elif stat.S_ISREG(path.stat().st_mode):
            read = _read(role, path, whole, workers, opened)
        else:
            whole.whole(Fault("not-a-file"))
    return read or _Read(FileReport(path=path, examples=0)), whole


class _Read(NamedTuple):
    """Be a file as far as it could be read: what holds for all askers, and where to look further, if it has records."""

    report: FileReport
    looks: Looks | None = None


def _told(read: _Read, own: Tally, wish: Wish) -> FileReport:
    report = FileReport(path=read.report.path, examples=0) if read.looks else read.report
    with _telling(own):
        if read.looks:
            tokens, privacy = read.looks.look(wish, own)
            report = read.report.model_copy(update={"tokens": tokens, "privacy": privacy})
    issues = own.issues()
    told = {
        "errors": tuple(issue for issue in issues if issue.level == "error"),
        "warnings": tuple(issue for issue in issues if issue.level == "warning"),
        "counts": dict(sorted(own.counts.items())),
    }
    return report.model_copy(update=told)


@contextmanager
def _telling(whole: Tally) -> Iterator[None]:
    """Make a fault of what the system says of a file that cannot be read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        whole.whole(Fault("file-missing"))
    except OSError as error:
        whole.whole(Fault("file-unreadable", value=Plain(error.strerror or error)))


def _read(role: Role, path: Path, whole: Tally, workers: int | None, opened: ExitStack) -> _Read:
    if path.suffix != ".jsonl":
        whole.whole(Fault("extension-not-jsonl"))
    stream = opened.enter_context(path.open("rb", buffering=0))
    size = os.fstat(stream.fileno()).st_size
    for fault in size_faults(role, size):
        whole.whole(fault)
    trouble = _trouble(sniff.kind(stream.read(sniff.HEAD)))
    if trouble is not None and whole.counted(trouble):
        whole.sightings.append(_of_all_lines(trouble))
    if trouble is not None or size > max(MOST_BYTES.values()):
        sha256 = _hash(stream) if trouble else ""
        return _Read(FileReport(path=path, examples=0, file=_file(role, path, sha256, size, 0)))
    survey, sha256 = _survey(path, stream, size, whole.terms, opened.enter_context(Scratch()), workers)
    whole.merge(survey.tally, lines=0)
    _check_key_sets(survey, whole)
    check_amount(role, size, survey, whole)
    between = compare(stream, survey, whole.terms, start=_start(stream))
    whole.counts += between.counts
    whole.sightings += between.sightings
    return _described(path, stream, survey, whole.terms, _file(role, path, sha256, size, survey.examples))


def _described(path: Path, stream: BinaryIO, survey: Survey, terms: Terms, file: DataFile) -> _Read:
    """Return what a file holds, without its faults, and where to look further into it."""
    report = FileReport(path=path, examples=survey.examples, file=file)
    if not survey.examples:
        return _Read(report)
    start = _start(stream)
    looks = Looks(path, survey, _longest(stream, survey, start), start=start, terms=terms)
    return _Read(report.model_copy(update={"statistics": statistics(survey)}), looks)


def _longest(stream: BinaryIO, survey: Survey, start: int) -> Seen:
    """Return what the longest record holds; it is read again unless it was looked at closely."""
    row = longest(survey.rows, start=start)
    if row.line == survey.longest.line:
        return survey.longest.seen
    stream.seek(row.offset)
    record = record_in(stream.read(row.length), survey.method) if row.length else None
    return seen_in(record) if record is not None else Seen(0, 0, 0)


def _file(role: Role, path: Path, sha256: str, size: int, examples: int) -> DataFile:
    return DataFile(role=role, path=path, sha256=sha256, bytes=size, examples=examples)


def _trouble(kind: str) -> Fault | None:
    if kind == "lines":
        return None
    return Fault("compressed", value=Plain(kind)) if kind in sniff.ARCHIVES.values() else Fault(kind)


def _of_all_lines(trouble: Fault) -> Sighting:
    """Place the fault of a text that is no JSON lines at all at its beginning."""
    return Sighting(trouble, 1, 0, 1) if trouble.code in _OF_TEXT else Sighting(trouble)


def _survey(
    path: Path, stream: BinaryIO, size: int, terms: Terms, scratch: Scratch, workers: int | None
) -> tuple[Survey, str]:
    """Survey a file in one piece, or in parts side by side; return the survey, and the file's hash."""
    number = parts.workers_for(size) if workers is None else workers
    if number == 1:
        stream.seek(0)
        lines = Lines(stream)
        survey = Survey(terms, scratch)
        for block in _without_mark(lines.blocks(), survey.tally):
            survey.take(block)
        survey.finish()
        return survey, lines.sha256
    form, ranges, sample = _first_form(stream, terms.method), parts.cuts(stream, size), Sample()

    def work(index: int, stop: Event) -> Survey | str:
        with path.open("rb", buffering=0) as own:
            if not index:
                return _hash(own)
            start, end = ranges[index - 1]
            own.seek(start)
            survey = Survey(terms, scratch, form=form, sample=sample)
            blocks = Lines(own, chunk=_STEP, start=start, end=end, hashed=False).blocks()
            for block in blocks if start else _without_mark(blocks, survey.tally):
                if stop.is_set():
                    break
                survey.take(block)
            survey.finish()
            return survey

    sha256, whole = "", list[Survey]()
    for result in parts.each(work, len(ranges) + 1, workers=number, meanwhile=_prepare):
        if isinstance(result, str):
            sha256 = result
        elif whole:
            whole[0].merge(result)
        else:
            whole.append(result)
    return whole[0], sha256


def _prepare() -> None:
    """Build the nouns of a report, which are slow to be made for the first time."""
    for noun in (DataFile, Statistics, Issue, Tokens, FileReport, DataReport):
        noun.model_rebuild()


def _first_form(stream: BinaryIO, method: DataMethod) -> str | None:
    """Return the format of the first record that has one, looking no further than the first few megabytes."""
    stream.seek(0)
    for number, line in Lines(stream, hashed=False):
        if line is not None and line.strip():
            record = record_in(line.removeprefix(sniff.BOM) if number == 1 else line, method)
            form = form_of(record) if record is not None else None
            if form is not None:
                return form
        if stream.tell() > _LOOKED_AT:
            return None
    return None


def _start(stream: BinaryIO) -> int:
    """Return where the first line begins: at the start, or after a byte order mark."""
    stream.seek(0)
    return len(sniff.BOM) if stream.read(len(sniff.BOM)) == sniff.BOM else 0


def _without_mark(blocks: Iterator[Block], tally: Tally) -> Iterator[Block]:
    """Note a byte order mark at the start of the first block, and pass it over."""
    for block in blocks:
        if block.offset == 0 and block.text is not None and block.text[: len(sniff.BOM)] == sniff.BOM:
            line, _, _ = bytes(block.text).partition(b"\n")
            tally.add([Fault("byte-order-mark", offset=0)], line=line, number=1, start=0)
            bare = block.text[len(sniff.BOM) :]
            yield Block(len(sniff.BOM), bare, len(bare))
        else:
            yield block


def _hash(stream: BinaryIO) -> str:
    stream.seek(0)
    lines = Lines(stream, chunk=_STEP)
    lines.drain()
    return lines.sha256


def _check_key_sets(survey: Survey, whole: Tally) -> None:
    """Tell of each set of optional keys but the first where it is met first, and of the first odd weight likewise."""
    weighted = ["weight" in keys for keys in survey.key_sets]
    sightings = list(survey.key_sets.values())
    odd, some = (not weighted[0] if weighted else True), Fault("sample-weight-on-some")
    if odd in weighted and whole.counted(some):
        whole.sightings.append(sightings[weighted.index(odd)]._replace(fault=some))
    for sighting in sightings[1:]:
        if whole.counted(sighting.fault):
            whole.sightings.append(sighting)
