"""What stands against a plan besides the user's own rules: in the data, at the provider, in its catalogue. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from anytune.schema.data import DataReport, FileReport
from anytune.schema.plan import Capabilities
from anytune.schema.spec import TuneSpec


def of_data(data: DataReport) -> Iterator[str]:
    """Name the first error of each file, and files of two roles with one content."""
    yield from _shared(data)
    for report in data.files:
        if report.errors:
            first = report.errors[0]
            place = f" line {first.line}" if first.line else ""
            count = sum(report.counts.get(code, 0) for code in {issue.code for issue in report.errors})
            more = f" (and {count - 1} more: anytune check)" if count > 1 else ""
            yield f"{report.path.name}{place}: {first.message} [{first.code}]{more}"


def _shared(data: DataReport) -> Iterator[str]:
    """Name files of two roles with one content: what was trained on is not held out."""
    seen: dict[str, str] = {}
    told = (report.file or (report.part.file if report.part else None) for report in data.files if report.examples)
    for file in (file for file in told if file is not None):
        if file.sha256 in seen:
            yield f"data.{file.role} has the same content as {seen[file.sha256]}: it is not held out"
        seen.setdefault(file.sha256, f"data.{file.role}")


def of_length(spec: TuneSpec, data: DataReport) -> Iterator[str]:
    """Name files with examples over the limit where these are to be refused, and are surely there."""
    for report in data.files if spec.training.over_length == "refuse" else ():
        found = report.tokens
        if found is not None and found.over_limit and found.method != "rough" and _is_learnt(report):
            some = f"{found.over_limit:,} example{'s' if found.over_limit > 1 else ''}"
            yield (
                f"{report.path.name} has {some} longer than max_length {found.limit:,}, and training.over_length is "
                "refuse: raise training.max_length, or take drop or truncate_left"
            )


def _is_learnt(report: FileReport) -> bool:
    return report.file is not None and report.file.role != "test"


def of_method(spec: TuneSpec, capabilities: Capabilities) -> Iterator[str]:
    """Say that the model is not trained by this method there."""
    if capabilities.methods and spec.method not in capabilities.methods:
        offered = ", ".join(capabilities.methods)
        yield f"method {spec.method}: {capabilities.provider} trains {capabilities.model} by {offered} only"


def of_size(data: DataReport, capabilities: Capabilities) -> Iterator[str]:
    """Name files that are larger than the provider takes."""
    most = capabilities.max_file_bytes
    for report in data.files:
        file, told = report.file, "file-too-large" in report.counts
        if most is not None and file is not None and file.role != "test" and file.bytes > most and not told:
            yield f"{file.path.name} has {file.bytes:,} bytes: {capabilities.provider} takes at most {most:,} in a file"


def shut_down(capabilities: Capabilities, today: date) -> Iterator[str]:
    """Say that the model is no more."""
    end = capabilities.model_shutdown
    if end is not None and today > end:
        place = f"say so under catalog.{capabilities.provider}.models in your settings"
        yield f"{capabilities.model} was shut down on {end}, what was tuned from it, too (if that was put off: {place})"


def of_chats(data: DataReport, capabilities: Capabilities) -> Iterator[str]:
    """Say that the model reads no chats."""
    trainer = capabilities.trainer
    for report in data.files if trainer is not None and not trainer.chats else ():
        if report.file is not None and report.file.role != "test" and report.statistics and report.statistics.roles:
            yield (
                f"{report.path.name} holds chats, and {capabilities.model} reads prompts with completions: "
                "anytune convert --to prompt-completion"
            )


def unheard(capabilities: Capabilities) -> Iterator[str]:
    """Say that the model is not known there; the catalogue may be behind."""
    if capabilities.opaque:
        return
    if not capabilities.known:
        near = f"; did you mean {capabilities.similar[0]}?" if capabilities.similar else ""
        yield f"{capabilities.provider} tunes no model {capabilities.model!r} that the catalogue knows{near}"
    elif capabilities.unlisted_on is not None:
        yield f"{capabilities.provider}'s own list of {capabilities.unlisted_on} has no model {capabilities.model!r}"


def closed(capabilities: Capabilities, today: date) -> Iterator[str]:
    """Say that the provider takes no new jobs on the model any more; the catalogue may be wrong."""
    until = capabilities.accepts_jobs_until
    if until is not None and today > until:
        yield f"{capabilities.provider} takes no new jobs on {capabilities.model} since {until}"
