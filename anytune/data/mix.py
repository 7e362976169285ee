"""Several files of examples as one: each counts as its weight says, the same way every time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from anytune.data.aside import aside, own_folder
from anytune.data.input import opened
from anytune.data.lines import Lines
from anytune.data.prompt import records
from anytune.errors import RefusedError
from anytune.schema.data import DataReport, FileReport, Issue, Part, Source

OF_AMOUNT = ("too-few-examples", "too-many-examples", "file-too-large", "file-large")
_SALT = b"anytune mix 1\n"


def taken(examples: int, weight: float) -> int:
    """Return how many examples a file of so many comes to: all as often as the weight has whole ones, and the rest."""
    return int(weight) * examples + round((weight - int(weight)) * examples)


def kept(sources: Sequence[Source], *, folder: Path) -> tuple[Path, tuple[int, ...]]:
    """Return the file that these come to, made once into `folder`, and how many examples it has of each.

    Its name holds the hash of their contents and weights. An example of a file of weight 2 stands there twice; of one
    of weight 0.3 three of ten examples do, by a hash of their own bytes, so that neither order nor the other examples
    matter. The files are interleaved evenly, each in its own order, so that a trainer that reads from top to bottom
    meets all of them all the time. Lines are copied without BOM and white space around them. The memory is about 100
    bytes an example of a file of which a part is taken. Raises RefusedError for a file that cannot be read or of which
    nothing would be taken.
    """
    digest = hashlib.sha256(_SALT)
    for source in sources:
        with opened(source.path) as stream:
            lines = Lines(stream)
            lines.drain()
        digest.update(f"{lines.sha256} {source.weight!r}\n".encode())
    mixed = folder / f"{sources[0].path.stem}-and-{len(sources) - 1}-more-{digest.hexdigest()[:16]}.jsonl"
    counted = [_count(source.path) for source in sources]
    parts = tuple(taken(many, source.weight) for many, source in zip(counted, sources, strict=True))
    for source, many in zip(sources, parts, strict=True):
        if not many:
            raise RefusedError(f"{source.path}: weight {source.weight:g} takes none of its examples", fix="raise it")
    own_folder(folder)
    if not mixed.is_file():
        flows = [_flow(*of) for of in zip(sources, counted, strict=True)]
        with aside(mixed) as file:
            file.writelines(line + b"\n" for line in _interleaved(flows, parts))
    return mixed, parts


def of_parts(report: DataReport) -> tuple[FileReport, ...]:
    """Return what was found in the single files; how many examples there are is asked of all together."""
    return tuple(_without(found, lambda issue: issue.code in OF_AMOUNT) for found in report.files)


def counted(parts: Sequence[FileReport], sources: Sequence[Source], taken: Sequence[int]) -> tuple[FileReport, ...]:
    """Return the reports of single files with how much of each is in the one that they come to."""
    return tuple(
        report.model_copy(update={"file": None, "part": Part(file=report.file, weight=source.weight, taken=many)})
        for report, source, many in zip(parts, sources, taken, strict=True)
        if report.file is not None
    )


def of_whole(report: DataReport, parts: Sequence[FileReport]) -> DataReport:
    """Put the reports of single files behind that of the one they come to, of which only its size is judged.

    What stands on its lines was told of the files that they are from, and that an example counts twice is wanted.
    """
    if not parts:
        return report
    whole = [
        _without(found, lambda issue: issue.code not in OF_AMOUNT)
        if found.file is not None and found.file.role == "train"
        else found
        for found in report.files
    ]
    return DataReport(files=(whole[0], *parts, *whole[1:]))


def _without(report: FileReport, passed_over: Callable[[Issue], bool]) -> FileReport:
    errors = tuple(issue for issue in report.errors if not passed_over(issue))
    warnings = tuple(issue for issue in report.warnings if not passed_over(issue))
    codes = {issue.code for issue in (*errors, *warnings)}
    counts = {code: many for code, many in report.counts.items() if code in codes}
    return report.model_copy(update={"errors": errors, "warnings": warnings, "counts": counts})


def _count(path: Path) -> int:
    return sum(1 for _ in records(path))


def _flow(source: Source, examples: int) -> Iterator[bytes]:
    """Yield the examples of a file as often as its weight says."""
    for _ in range(int(source.weight)):
        yield from (line for _, _, line in records(source.path))
    rest = taken(examples, source.weight) - int(source.weight) * examples
    if rest:
        ranks = sorted((_hash(line), at) for at, (_, _, line) in enumerate(records(source.path)))
        chosen = {at for _, at in ranks[:rest]}
        yield from (line for at, (_, _, line) in enumerate(records(source.path)) if at in chosen)


def _interleaved(flows: Sequence[Iterator[bytes]], parts: Sequence[int]) -> Iterator[bytes]:
    """Yield from each flow, always from the one that is furthest behind its share."""
    done = [0] * len(flows)
    for _ in range(sum(parts)):
        at = min(range(len(flows)), key=lambda i: ((done[i] + 0.5) / parts[i], i))
        yield next(flows[at])
        done[at] += 1


def _hash(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(_SALT + line).digest()[:8], "big")
