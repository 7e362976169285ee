"""Say what a check found as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from anytune import __version__
from anytune.data.check.rules import RULES
from anytune.schema.data import DataReport, FileReport, Issue
from anytune.ui import words

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def document(report: DataReport) -> dict[str, Any]:
    """Return one run with every shown fault as a result; columns count characters, offsets bytes."""
    found = [(file, issue) for file in report.files for issue in (*file.errors, *file.warnings)]
    rules = [_rule(code) for code in sorted({issue.code for _, issue in found})]
    driver = {"name": "anytune", "version": __version__, "rules": rules}
    results = [_result(file, issue) for file, issue in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    return {
        "id": code,
        "shortDescription": {"text": rule.message.format(value="…")},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
    }


def _result(file: FileReport, issue: Issue) -> dict[str, Any]:
    text = f"{issue.message}. Fix: {issue.fix}" if issue.fix else issue.message
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(file.path)}}
    if issue.line is not None:
        place["region"] = {"startLine": issue.line, "startColumn": issue.column or 1}
        if issue.offset is not None:
            place["region"]["byteOffset"] = issue.offset
    return {
        "ruleId": issue.code,
        "level": issue.level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "properties": {"path": issue.path, "providers": list(issue.providers)},
    }


def _uri(path: Path) -> str:
    """Return a reference from here, or the whole URI where that is shorter; what RFC 3986 does not allow is escaped."""
    place = Path(words.place(path))
    return place.as_uri() if place.is_absolute() else quote(place.as_posix(), errors="surrogateescape")
