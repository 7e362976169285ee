"""Show what a scan for private data found: counts by kind, and samples that show no value."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from anytune.schema.data import PrivacyReport, PrivacySample
from anytune.ui import terminal, words

SHOWN = 3  # samples of a kind


def show(report: PrivacyReport, *, on: Console) -> None:
    """Show one file: how much it holds of each kind, and where the first of them stand."""
    on.print(_head(report))
    if report.counts:
        on.print(
            Text(f"  in {words.count(report.records_with)} of {words.count(report.records, 'record')}", style="dim")
        )
    for kind, number in report.counts.items():
        line = Text("  ")
        line.append(kind, style="yellow")
        line.append(f"  {words.count(number, 'value')}")
        on.print(line)
        _samples(report, kind, on)
    if report.unread:
        terminal.say(on, f"  {words.count(report.unread, 'line')} too long to be looked at", style="red")


def _head(report: PrivacyReport) -> Text:
    head = Text(words.place(report.path), style="bold")
    found = sum(report.counts.values())
    if found:
        head.append(f"  {words.count(found, 'private value')}", style="yellow")
    elif report.unread:
        head.append("  nothing private in what was looked at", style="yellow")
    else:
        head.append("  nothing private found", style="green")
    return head


def _samples(report: PrivacyReport, kind: str, on: Console) -> None:
    table = terminal.columns("place", "path", "value", whole=("place",))
    table.show_header = False
    for sample in [sample for sample in report.samples if sample.kind == kind][:SHOWN]:
        table.add_row(
            f"    line {_place(sample)}", Text(words.clean(sample.path), style="cyan"), words.clean(sample.masked)
        )
    terminal.put(on, table)


def _place(sample: PrivacySample) -> str:
    return str(sample.line) if sample.column is None else f"{sample.line}:{sample.column}"
