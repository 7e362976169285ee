"""Show what a check found: each fault with its place, who minds it and how to mend it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.schema.data import DataReport, FileReport, Issue
from anytune.ui import terminal, words

STYLES = {"error": "red", "warning": "yellow"}
PLACES = 6  # further lines that are named of one kind of fault


def show(report: DataReport, *, on: Console) -> None:
    """Show every file; of each kind of fault the first whole, and the lines of the others."""
    for number, file in enumerate(report.files):
        if number:
            on.print()
        _head(file, on)
        for same in _by_code(file):
            _issue(same[0], on)
            if others := _others(same[1:], file.counts.get(same[0].code, len(same)) - 1):
                _hanging([f"also on {others}"], on)


def show_all(report: DataReport, *, on: Console) -> None:
    """Show every file and every fault whole."""
    for number, file in enumerate(report.files):
        if number:
            on.print()
        _head(file, on)
        for issue in (*file.errors, *file.warnings):
            _issue(issue, on)


def tokens(file: FileReport) -> str:
    """Say how many tokens one epoch has."""
    if file.tokens is None:
        return ""
    found = file.tokens
    longest = f"longest example {words.count(found.longest)}"
    if found.method == "exact" or found.low == found.high:
        said = f"{words.count(found.expected)} tokens ({longest})"
    else:
        span = f"{words.count(found.low)} to {words.count(found.high)}"
        said = f"about {words.count(found.expected)} tokens ({span}; {longest})"
    return f"{said}, {found.method}" if found.method == "rough" else said


def _head(file: FileReport, on: Console) -> None:
    errors, warnings = _total(file, file.errors), _total(file, file.warnings)
    head = Text(words.place(file.path), style="bold")
    head.append("  ")
    if errors:
        head.append(words.count(errors, "error"), style="red")
    else:
        head.append("ok", style="green")
    if warnings:
        head.append(f", {words.count(warnings, 'warning')}", style="yellow")
    on.print(head)
    if file.examples:
        told = ", ".join(filter(None, (words.count(file.examples, "example"), tokens(file))))
        _hanging([told, *_described(file), *_private(file)], on, style="dim")


def _described(file: FileReport) -> Iterator[str]:
    """Say what the file holds: roles, lengths, scripts, classes."""
    found = file.statistics
    if found is None or not found.sampled:
        return
    roles = ", ".join(f"{number:,} {role}" for role, number in found.roles.items())
    of = "" if found.sampled >= file.examples else f" of {words.count(found.sampled)} looked at"
    yield f"messages{of}: {roles}; {found.turns:g} an example in the middle"
    least, middle, most, longest = found.bytes
    yield f"lines of {least:,} to {longest:,} bytes, half of them up to {middle:,}, 95 of 100 up to {most:,}"
    if len(found.scripts) > 1:
        yield "letters: " + ", ".join(f"{share:.1%} {script}" for script, share in found.scripts.items())
    if found.answers:
        yield "answers: " + ", ".join(f"{number:,} {words.clean(answer)}" for answer, number in found.answers.items())


def _private(file: FileReport) -> Iterator[str]:
    if file.privacy is not None:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in file.privacy.counts.items())
        yield f"private data: {kinds or 'none found'}"


def _issue(issue: Issue, on: Console) -> None:
    head = Text("  ")
    head.append(issue.level, style=STYLES[issue.level])
    head.append(f" {issue.code}", style="bold")
    if place := _place(issue):
        head.append(f"  line {place}")
    if issue.path:
        head.append(f"  {words.clean(issue.path)}", style="cyan")
    on.print(head, soft_wrap=not on.is_terminal)
    lines = [issue.message, *([f"fix: {issue.fix}"] if issue.fix else [])]
    if issue.providers:
        lines.append(f"for: {', '.join(issue.providers)}")
    _hanging(lines, on)


def _hanging(lines: Iterable[str], on: Console, *, style: str = "") -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row("   ", Text(words.clean(line), style=style))
    terminal.put(on, table)


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


def then(report: DataReport, also: Sequence[str] = ()) -> list[terminal.Command]:
    """Name the next command; `also` are the options that hold for another check."""
    if report.ok:
        if Path("finetune.yaml").is_file():
            return [("anytune plan", "what a job on this data would do and cost")]
        return [("anytune init", "write a first job file")]
    names = [words.place(file.path) for file in report.files]
    return [(shlex.join(["anytune", "check", *names, *also]), "again, once it is mended")]
