"""Check files of examples: every fault in one run, before a byte leaves."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from anytune.data import sniff
from anytune.data.check.fault import Fault
from anytune.data.check.rules import COLUMNS, RULES, minded
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally, Terms
from anytune.data.lines import Lines
from anytune.data.quote import Plain
from anytune.errors import UsageError
from anytune.schema.data import DataFile, DataReport, FileReport, Role
from anytune.schema.spec import Method

MOST_BYTES = 512 << 20
FEWEST_EXAMPLES = 10


def check(
    paths: Mapping[Role, Path] | Sequence[Path],
    *,
    providers: tuple[str, ...] = COLUMNS,
    method: Method = "sft",
    ignore: frozenset[str] = frozenset(),
    show: int = 20,
) -> DataReport:
    """Report every fault that one of the providers minds.

    A mapping says which role each file plays; files of a sequence count as training files. The codes in
    `ignore` are neither counted nor shown; `show` bounds the issues of one code in a file, never the counts.
    A missing or broken file is an issue of the report, not an exception; an unknown code in `ignore` is a
    UsageError.
    """
    for code in sorted(ignore - RULES.keys()):
        near = next(iter(get_close_matches(code, RULES, n=1)), None)
        raise UsageError(f"there is no rule {code}", fix=f"did you mean {near}?" if near else None)
    levels = {code: minds for code, minds in minded(providers).items() if code not in ignore}
    terms = Terms(levels, method, show)
    files: list[tuple[Role, Path]] = (
        list(paths.items()) if isinstance(paths, Mapping) else [("train", path) for path in paths]
    )
    return DataReport(files=tuple(_check_file(role, Path(path), terms) for role, path in files))


def _check_file(role: Role, path: Path, terms: Terms) -> FileReport:
    tally = Tally(terms)
    survey = Survey(terms, tally)
    file: DataFile | None = None
    try:
        if "\0" in str(path):
            tally.add([Fault("file-missing")])
        elif stat.S_ISREG(path.stat().st_mode):
            file = _read(role, path, tally, survey)
        else:
            tally.add([Fault("not-a-file")])
    except (FileNotFoundError, NotADirectoryError):
        tally.add([Fault("file-missing")])
    except OSError as error:
        tally.add([Fault("file-unreadable", value=Plain(error.strerror or error))])
    return FileReport(
        path=path,
        examples=survey.examples,
        errors=tally.issues("error"),
        warnings=tally.issues("warning"),
        counts=dict(sorted(tally.counts.items())),
        tokens=survey.tokens() if survey.examples else None,
        file=file,
    )


def _read(role: Role, path: Path, tally: Tally, survey: Survey) -> DataFile:
    with path.open("rb") as stream:
        head = stream.read(sniff.HEAD)
        stream.seek(0)
        lines = Lines(stream)
        trouble = _trouble(sniff.kind(head))
        if trouble is not None:
            tally.add([trouble])
            lines.drain()
        else:
            _see_lines(lines, tally, survey)
    if path.suffix != ".jsonl":
        tally.add([Fault("extension-not-jsonl")])
    if trouble is None:
        _check_amount(role, lines.size, tally, survey)
    return DataFile(role=role, path=path, sha256=lines.sha256, bytes=lines.size, examples=survey.examples)


def _trouble(kind: str) -> Fault | None:
    if kind == "lines":
        return None
    return Fault("compressed", value=Plain(kind)) if kind in sniff.ARCHIVES.values() else Fault(kind)


def _see_lines(lines: Lines, tally: Tally, survey: Survey) -> None:
    for number, line in lines:
        if number == 1 and line is not None and line.startswith(sniff.BOM):
            tally.add([Fault("byte-order-mark", offset=0)], number=1, line=line)
            line = line.removeprefix(sniff.BOM)
        survey.see(number, line)


def _check_amount(role: Role, size: int, tally: Tally, survey: Survey) -> None:
    """Check how much there is; only training files have a minimum, and the test file is never uploaded."""
    if survey.examples == 0:
        tally.add([Fault("file-blank" if size else "file-empty")])
    elif survey.examples < FEWEST_EXAMPLES and role == "train":
        tally.add([Fault("too-few-examples", value=survey.examples)])
    if size > MOST_BYTES and role != "test":
        tally.add([Fault("file-too-large", value=size)])
