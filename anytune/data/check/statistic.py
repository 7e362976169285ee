"""Describe what a file holds: roles, turns, lengths, scripts, and classes if the answers are few."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from anytune.data.check.rows import Rows
from anytune.data.check.seen import OUTPUTS
from anytune.data.check.survey import Survey
from anytune.schema.data import Statistics

MOST_CLASSES = 20
_FEWEST_OF_A_CLASS = 2.0  # records for each different answer, or else they are no classes
_LONGEST_CLASS = 60
_SCRIPTS = (
    (0x0250, "Latin"),
    (0x0400, "Greek"),
    (0x0530, "Cyrillic"),
    (0x0590, "Armenian"),
    (0x0600, "Hebrew"),
    (0x0780, "Arabic"),
    (0x0900, "other"),
    (0x0E00, "Indic"),
    (0x0E80, "Thai"),
    (0x1100, "other"),
    (0x1200, "Korean"),
    (0x1E00, "other"),
    (0x2000, "Latin"),
    (0x3040, "other"),
    (0x3100, "Japanese"),
    (0x3400, "other"),
    (0xA000, "Chinese"),
    (0xAC00, "other"),
    (0xD7B0, "Korean"),
)
_LETTERS = 1 << 18
_SHARES = (0.5, 0.95)
_ASCII = re.compile(r"[\0-\x7f]+")
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
_decode = msgspec.json.Decoder().decode


def statistics(survey: Survey) -> Statistics:
    """Describe the records of a survey by its sample, and all its lines by their lengths."""
    spoken: list[str] = []
    seen, said = 0, list[str]()
    answers: Counter[str] = Counter()
    turns: list[int] = []
    for _, line in sorted(survey.sample.lines):
        messages = _messages(line)
        turns += [len(messages)] if messages else []
        texts = [text for message in messages if isinstance(text := message.get("content"), str)]
        spoken += [str(message.get("role")) for message in messages]
        if seen < _LETTERS:
            said += texts
            seen += sum(map(len, texts))
        if messages and isinstance(messages[-1].get("content"), str):
            answers[messages[-1]["content"]] += 1
    return Statistics(
        sampled=len(turns),
        roles=dict(Counter(spoken).most_common()),
        turns=_median(turns),
        bytes=_quantiles(survey.rows),
        scripts=_scripts("".join(said)),
        answers=dict(answers.most_common()) if _are_classes(answers) else {},
    )


def _median(numbers: list[int]) -> float:
    """Return the middle one, or the mean of the two in the middle; 0 of none."""
    ordered = sorted(numbers)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else 0


def _messages(line: bytes) -> list[dict[str, Any]]:
    try:
        record = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []
    if not isinstance(record, dict):
        return []
    asked = record.get("input")
    held = [record.get("messages"), asked.get("messages") if isinstance(asked, dict) else None]
    held += [record.get(key) for key in OUTPUTS]
    return [message for each in held if isinstance(each, list) for message in each if isinstance(message, dict)]


def _are_classes(answers: Counter[str]) -> bool:
    few = 1 < len(answers) <= MOST_CLASSES and answers.total() >= _FEWEST_OF_A_CLASS * len(answers)
    return few and max(map(len, answers)) <= _LONGEST_CLASS


def _quantiles(rows: Rows) -> tuple[int, int, int, int]:
    sizes = rows.sizes()
    if not sizes:
        return 0, 0, 0, 0
    total, seen = sizes.total(), 0
    found: list[int] = []
    for size, number in sorted(sizes.items()):
        seen += number
        while len(found) < len(_SHARES) and seen >= _SHARES[len(found)] * total:
            found.append(size)
    return min(sizes), found[0], found[1], max(sizes)


def _scripts(text: str) -> dict[str, float]:
    found = Counter(Latin=len(text.encode("ascii", "ignore").translate(None, _NO_LETTERS)))
    for letter, number in Counter(_ASCII.sub("", text)).items():
        if letter.isalpha():
            found[_script(ord(letter))] += number
    total = found.total()
    return {
        script: round(number / total, 4) for script, number in found.most_common() if number and number / total >= 0.001
    }


def _script(code: int) -> str:
    return next((name for end, name in _SCRIPTS if code < end), "Chinese" if code >= 0x20000 else "other")
