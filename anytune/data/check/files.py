"""Check files of examples: every fault in one run, before a byte leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from threading import Event
from typing import BinaryIO, get_args

from anytune.data import sniff
from anytune.data.check import further, parts
from anytune.data.check.compare import compare, longest
from anytune.data.check.fault import Fault, Sighting
from anytune.data.check.further import NOTHING, Wish
from anytune.data.check.line import record_in
from anytune.data.check.record import form_of
from anytune.data.check.rows import Scratch
from anytune.data.check.rules import RULES, minded
from anytune.data.check.seen import Seen, seen_in
from anytune.data.check.statistic import statistics
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally, Terms
from anytune.data.lines import Block, Lines
from anytune.data.quote import Plain
from anytune.errors import UsageError
from anytune.schema.data import DataFile, DataMethod, DataReport, FileReport, Role

METHODS = get_args(DataMethod)
BUILT_IN = ("openai", "together", "fireworks", "local")
MOST_BYTES = {"openai": 512 << 20, "azure": 512 << 20, "nebius": 5_000_000_000, "together": int(50.1 * (1 << 30))}
LARGE_BYTES = 150_000_000
FEWEST_EXAMPLES = {"openai": 10, "azure": 10, "fireworks": 3}
MOST_EXAMPLES = {"fireworks": 3_000_000}
MOST_WITH_IMAGES = 50_000
MOST_TASKS = {"train": 50_000, "validation": 1_000}
_OF_TEXT = frozenset({"csv", "json-array", "pretty-printed", "carriage-return-ends"})
_LOOKED_AT = 16 << 20


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
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", fix=f"choose one of {', '.join(METHODS)}")
    for code in sorted(ignore - RULES.keys()):
        near = next(iter(get_close_matches(code, RULES, n=1)), None)
        raise UsageError(f"there is no rule {code}", fix=f"did you mean {near}?" if near else None)
    terms = Terms(
        {code: who for code, who in minded(tuple(providers), method).items() if code not in ignore}, method, show
    )
    files: list[tuple[Role, Path]] = (
        list(paths.items()) if isinstance(paths, Mapping) else [("train", path) for path in paths]
    )
    return DataReport(files=tuple(_check_file(role, Path(path), terms, workers, wish) for role, path in files))


def _check_file(role: Role, path: Path, terms: Terms, workers: int | None, wish: Wish) -> FileReport:
    whole = Tally(terms)
    report = FileReport(path=path, examples=0)
    try:
        if "\0" in str(path):
            whole.whole(Fault("file-missing"))
        elif stat.S_ISREG(path.stat().st_mode):
            report = _read(role, path, whole, workers, wish)
        else:
            whole.whole(Fault("not-a-file"))
    except (FileNotFoundError, NotADirectoryError):
        whole.whole(Fault("file-missing"))
    except OSError as error:
        whole.whole(Fault("file-unreadable", value=Plain(error.strerror or error)))
    issues = whole.issues()
    told = {
        "errors": tuple(issue for issue in issues if issue.level == "error"),
        "warnings": tuple(issue for issue in issues if issue.level == "warning"),
        "counts": dict(sorted(whole.counts.items())),
    }
    return report.model_copy(update=told)


def _read(role: Role, path: Path, whole: Tally, workers: int | None, wish: Wish) -> FileReport:
    if path.suffix != ".jsonl":
        whole.whole(Fault("extension-not-jsonl"))
    with path.open("rb", buffering=0) as stream, Scratch() as scratch:
        size = os.fstat(stream.fileno()).st_size
        for fault in _size_faults(role, size):
            whole.whole(fault)
        trouble = _trouble(sniff.kind(stream.read(sniff.HEAD)))
        if trouble is not None and whole.counted(trouble):
            whole.sightings.append(_of_all_lines(trouble))
        if trouble is not None or size > max(MOST_BYTES.values()):
            sha256 = _hash(stream) if trouble else ""
            return FileReport(path=path, examples=0, file=_file(role, path, sha256, size, 0))
        survey, sha256 = _survey(path, stream, size, whole.terms, scratch, workers)
        whole.merge(survey.tally, lines=0)
        _check_key_sets(survey, whole)
        _check_amount(role, size, survey, whole)
        between = compare(stream, survey, whole.terms, start=_start(stream))
        whole.counts += between.counts
        whole.sightings += between.sightings
        file = _file(role, path, sha256, size, survey.examples)
        return _described(path, stream, survey, whole, wish, file)


def _described(path: Path, stream: BinaryIO, survey: Survey, whole: Tally, wish: Wish, file: DataFile) -> FileReport:
    """Return the report of a file that was read, without its faults, having looked further where that is wished for."""
    if not survey.examples:
        return FileReport(path=path, examples=0, file=file)
    start = _start(stream)
    row = longest(survey.rows, start=start)
    stream.seek(row.offset)
    record = record_in(stream.read(row.length), survey.method) if row.length else None
    most = seen_in(record) if record is not None else Seen(0, 0, 0)
    tokens = further.tokens(path, survey, most, start, whole, wish)
    further.leaks(path, whole, wish)
    further.likeness(path, survey, start, whole, wish)
    return FileReport(
        path=path,
        examples=survey.examples,
        tokens=tokens,
        statistics=statistics(survey),
        privacy=further.private(path, whole, wish),
        file=file,
    )


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
    form = _first_form(stream, terms.method)
    if number == 1:
        stream.seek(0)
        lines = Lines(stream)
        survey = Survey(terms, scratch, form=form)
        for block in _without_mark(lines.blocks(), survey.tally):
            survey.take(block)
        survey.finish()
        return survey, lines.sha256
    ranges = parts.cuts(stream, size)

    def work(index: int, stop: Event) -> Survey | str:
        with path.open("rb", buffering=0) as own:
            if not index:
                return _hash(own)
            start, end = ranges[index - 1]
            own.seek(start)
            survey = Survey(terms, scratch, form=form)
            blocks = Lines(own, start=start, end=end, hashed=False).blocks()
            for block in blocks if start else _without_mark(blocks, survey.tally):
                if stop.is_set():
                    break
                survey.take(block)
            survey.finish()
            return survey

    sha256, whole = "", list[Survey]()
    for result in parts.each(work, len(ranges) + 1, workers=number):
        if isinstance(result, str):
            sha256 = result
        elif whole:
            whole[0].merge(result)
        else:
            whole.append(result)
    return whole[0], sha256


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
        if block.offset == 0 and block.text is not None and block.text.startswith(sniff.BOM):
            line = block.text[: block.text.find(b"\n")]
            tally.add([Fault("byte-order-mark", offset=0)], line=line, number=1, start=0)
            bare = block.text.removeprefix(sniff.BOM)
            yield Block(len(sniff.BOM), bare, len(bare))
        else:
            yield block


def _hash(stream: BinaryIO) -> str:
    stream.seek(0)
    lines = Lines(stream)
    lines.drain()
    return lines.sha256


def _check_key_sets(survey: Survey, whole: Tally) -> None:
    """Tell of each set of optional keys but the first where it is met first."""
    weighted = ["weight" in keys for keys in survey.key_sets]
    if any(weighted) and not all(weighted):
        whole.whole(Fault("sample-weight-on-some"))
    for sighting in list(survey.key_sets.values())[1:]:
        if whole.counted(sighting.fault):
            whole.sightings.append(sighting)


def _check_amount(role: Role, size: int, survey: Survey, whole: Tally) -> None:
    """Check how many examples there are; only training files have a minimum."""
    number = survey.examples
    said = Plain(f"{number:,} example{'' if number == 1 else 's'}")
    if number == 0:
        whole.whole(Fault("file-blank" if size else "file-empty"))
        return
    few = tuple(name for name, least in FEWEST_EXAMPLES.items() if number < least)
    if few and role == "train":
        whole.whole(Fault("too-few-examples", value=said, among=few))
    many = {name for name, most in MOST_EXAMPLES.items() if number > most}
    many |= {"openai"} if whole.terms.method == "rft" and number > MOST_TASKS.get(role, number) else set()
    if many:
        whole.whole(Fault("too-many-examples", value=said, among=tuple(many)))
    if survey.with_images > MOST_WITH_IMAGES:
        images = Plain(f"{survey.with_images:,} examples with images")
        whole.whole(Fault("too-many-examples", value=images, among=("openai",)))


def _size_faults(role: Role, size: int) -> Iterator[Fault]:
    """Yield what is wrong with a file of so many bytes; the test file is never uploaded."""
    if role == "test":
        return
    said = Plain(f"{size:,} bytes")
    above = tuple(name for name, most in MOST_BYTES.items() if size > most)
    if above:
        yield Fault("file-too-large", value=said, among=above)
    elif size > LARGE_BYTES:
        yield Fault("file-large", value=said)
