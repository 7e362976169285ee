"""Show what a check found: each fault with its place, who minds it and how to mend it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anytune.schema.data import DataReport, FileReport, Issue
from anytune.ui import terminal, words
from anytune.ui.terminal import Line

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"error": "red", "warning": "yellow"}
PLACES = 19  # further lines that are named of one kind of fault


def show(report: DataReport, *, on: Console | None) -> None:
    """Show every file; of each kind of fault the first whole, and the lines of the others."""
    terminal.write(_lines(report, _by_kind), on=on)


def show_all(report: DataReport, *, on: Console | None) -> None:
    """Show every file and every fault whole."""
    terminal.write(_lines(report, _one_by_one), on=on)


def _lines(report: DataReport, faults: Callable[[FileReport], Iterator[Line]]) -> Iterator[Line]:
    for number, file in enumerate(report.files):
        if number:
            yield Line(())
        yield from _head(file)
        yield from faults(file)


def _by_kind(file: FileReport) -> Iterator[Line]:
    for same in _by_code(file):
        yield from _issue(same[0])
        if others := _others(same[1:], file.counts.get(same[0].code, len(same)) - 1):
            yield _hanging(f"also on {others}")


def _one_by_one(file: FileReport) -> Iterator[Line]:
    for issue in (*file.errors, *file.warnings):
        yield from _issue(issue)


def tokens(file: FileReport) -> str:
    """Say how many tokens one epoch has."""
    if file.tokens is None:
        return ""
    found = file.tokens
    sure = found.method == "exact" or found.low == found.high
    longest = f"longest example {'' if sure else 'about '}{words.count(found.longest)}"
    if sure:
        said = f"{words.count(found.expected)} tokens ({longest})"
    else:
        span = f"{words.count(found.low)} to {words.count(found.high)}"
        said = f"about {words.count(found.expected)} tokens ({span}; {longest})"
    return f"{said}, {found.method}" if found.method == "rough" else said


def _head(file: FileReport) -> Iterator[Line]:
    errors, warnings = _total(file, file.errors), _total(file, file.warnings)
    found = (words.count(errors, "error"), "bold red") if errors else ("ok", "bold green")
    also = [(f", {words.count(warnings, 'warning')}", "bold yellow")] if warnings else []
    yield Line(((f"{words.place(file.path)}  ", "bold"), found, *also))
    if file.examples:
        told = ", ".join(filter(None, (words.count(file.examples, "example"), tokens(file))))
        yield from (_hanging(text, style="dim") for text in (told, *_described(file), *_private(file)))


def _described(file: FileReport) -> Iterator[str]:
    """Say what the file holds: roles, lengths, scripts, classes."""
    found = file.statistics
    if found is None or not found.sampled:
        return
    roles = ", ".join(f"{number:,} {role}" for role, number in found.roles.items())
    of = "" if found.sampled >= file.examples else f" of {words.count(found.sampled)} looked at"
    yield f"messages{of}: {roles}; median {found.turns:g} an example"
    least, middle, most, longest = found.bytes
    yield f"lines of {least:,} to {longest:,} bytes: median {middle:,}, 95 % up to {most:,}"
    if len(found.scripts) > 1:
        yield "letters: " + ", ".join(f"{share:.1%} {script}" for script, share in found.scripts.items())
    if found.answers:
        yield "answers: " + ", ".join(f"{number:,} {words.clean(answer)}" for answer, number in found.answers.items())


def _private(file: FileReport) -> Iterator[str]:
    if file.privacy is not None:
        first = {sample.kind: f", such as {sample.masked}" for sample in reversed(file.privacy.samples)}
        kinds = (f"{number:,} {kind}{first.get(kind, '')}" for kind, number in file.privacy.counts.items())
        yield f"private data: {'; '.join(kinds) or 'none found'}"


def _issue(issue: Issue) -> Iterator[Line]:
    place = f"  line {place}" if (place := _place(issue)) else ""
    path = f"  {words.clean(issue.path)}" if issue.path else ""
    yield Line(
        (("  ", ""), (issue.level, STYLES[issue.level]), (f" {issue.code}", "bold"), (place, ""), (path, "cyan"))
    )
    yield _hanging(issue.message)
    if issue.fix:
        yield _hanging(f"fix: {issue.fix}")
    if issue.providers:
        yield _hanging(f"for: {', '.join(issue.providers)}")


def _hanging(text: str, *, style: str = "") -> Line:
    return Line(((words.clean(text), style),), indent=4)


def _by_code(file: FileReport) -> Iterator[list[Issue]]:
    """Yield the issues of each code together, errors first, in the order of the file."""
    found = (*file.errors, *file.warnings)
    for code in dict.fromkeys(issue.code for issue in found):
        yield [issue for issue in found if issue.code == code]


def _others(same: list[Issue], count: int) -> str:
    named = [_place(issue) for issue in same[:PLACES] if issue.line is not None]
    if count <= 0 or not named:
        return ""
    more = f" and {count - len(named):,} more" if count > len(named) else ""
    return f"line{'' if len(named) == 1 else 's'} {', '.join(named)}{more}"


def _place(issue: Issue) -> str:
    return ":".join(str(n) for n in (issue.line, issue.column) if n is not None)


def _total(file: FileReport, issues: tuple[Issue, ...]) -> int:
    return sum(file.counts.get(code, 1) for code in {issue.code for issue in issues})


def document(report: DataReport) -> dict[str, Any]:
    """Return a report as the document of `--json`."""
    fields = {"path", "examples", "errors", "warnings", "counts", "tokens", "statistics", "privacy"}
    return {"ok": report.ok, "files": [file.model_dump(mode="json", include=fields) for file in report.files]}


def annotate(report: DataReport) -> None:
    """Print each fault as an annotation that GitHub Actions shows beside the line."""
    for file in report.files:
        for issue in (*file.errors, *file.warnings):
            place = {"file": words.place(file.path), "line": issue.line, "col": issue.column, "title": issue.code}
            where = ",".join(f"{key}={_escaped(value, also=':,')}" for key, value in place.items() if value is not None)
            text = words.clean(f"{issue.message}{f'. Fix: {issue.fix}' if issue.fix else ''}")
            print(f"::{issue.level} {where}::{_escaped(text)}")


def _escaped(value: object, *, also: str = "") -> str:
    """Write the characters that end an annotation or one of its parts as GitHub wants them."""
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{also}" else c for c in str(value))


def then(
    report: DataReport, also: Sequence[str] = (), looked: Sequence[str] = (), *, redacted: Path | None = None
) -> list[terminal.Command]:
    """Name the next command; `also` are options of the check that a mender has, too, `looked` those that it has not.

    `redacted` is the copy that was written, if one was.
    """
    if report.ok and redacted is not None:
        return [(shlex.join(["anytune", "check", words.place(redacted), *also, "--privacy"]), "the copy")]
    private = [words.place(file.path) for file in report.files if file.privacy is not None and file.privacy.counts]
    if report.ok and private:
        copy = Path(private[0]).with_suffix(".redacted.jsonl")
        return [(shlex.join(["anytune", "check", private[0], "--redact", str(copy)]), "a copy with placeholders")]
    if report.ok:
        if Path("finetune.yaml").is_file():
            return [("anytune plan", "what a job on this data would do and cost")]
        return [("anytune init", "write a first job file")]
    names = [words.place(file.path) for file in report.files]
    again = (shlex.join(["anytune", "check", *names, *also, *looked]), "again, once it is mended")
    mended = [part for pair in zip(also[::2], also[1::2], strict=True) if pair[0] != "--ignore" for part in pair]
    broken = [words.place(file.path) for file in report.files if _can_be_mended(file)]
    fixes = [(shlex.join(["anytune", "fix", name, *mended]), "mend what can be mended") for name in broken[:1]]
    foreign = [words.place(file.path) for file in report.files if _is_foreign(file)]
    if foreign:
        return [(shlex.join(["anytune", "convert", foreign[0]]), "turn it into chats or pairs")]
    return [*fixes, again]


def _is_foreign(file: FileReport) -> bool:
    """Tell whether most of a file is in another format, which is converted, not mended."""
    codes = {issue.code for issue in file.errors if (issue.fix or "").startswith("anytune convert")}
    return 2 * sum(file.counts.get(code, 0) for code in codes) > file.examples


def _can_be_mended(file: FileReport) -> bool:
    """Tell whether a mender may find something to do: what leaked is the user's to take out."""
    return file.examples > 0 and any(issue.code != "leak" for issue in file.errors)
