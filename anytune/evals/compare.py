"""Compare two models' answers to the same questions."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune import private
from anytune.data.input import blank, opened
from anytune.errors import RefusedError
from anytune.evals.metrics import metrics
from anytune.schema.evals import Answer, EvalReport, MetricResult
from anytune.schema.spec import Evaluation

Z95 = 1.959964


@dataclass(frozen=True)
class Question:
    """Be one held-out chat: all but its last answer, and that answer."""

    chat: tuple[dict[str, Any], ...]
    expected: str

    @property
    def text(self) -> str:
        """Return what the user said last."""
        return next((str(m["content"]) for m in reversed(self.chat) if m.get("role") == "user"), "")


def read(path: Path, *, limit: int | None = None) -> list[Question]:
    """Read held-out chats or pairs; raise `RefusedError` with the line of one that has no answer to compare with."""
    with opened(path) as stream:
        try:
            lines = stream.read().decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise RefusedError(f"{path}: the file is not UTF-8: {error.reason}", fix=f"anytune fix {path}") from error
    questions = [_question(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise blank(path)
    return questions[:limit]


def _question(path: Path, number: int, line: str) -> Question:
    try:
        messages = _messages(json.loads(line))
        *chat, answer = messages
        if answer["role"] != "assistant" or not isinstance(answer["content"], str) or not chat:
            raise ValueError("it does not end with an assistant's answer")
        if not all(isinstance(message, dict) for message in chat):
            raise ValueError("a message is not an object")
        json.dumps(messages, ensure_ascii=False).encode()  # half a character, which no report can hold
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError(
            f"{path}:{number}: cannot be used as a test: {error}", fix="anytune check finds all"
        ) from error
    return Question(tuple(chat), answer["content"])


def _messages(record: Any) -> Any:
    """Return a chat's messages; of a pair, what was asked and the answer that is preferred."""
    return [*record["input"]["messages"], *record["preferred_output"]] if "input" in record else record["messages"]


def compare(
    questions: Sequence[Question],
    base_answers: Sequence[str],
    tuned_answers: Sequence[str],
    *,
    spec: Evaluation,
    job_id: str,
    base: str,
    tuned: str,
    test_file: str,
    seconds: float,
) -> EvalReport:
    """Score both sides by every metric, question by question."""
    judges = metrics(spec)
    answers = tuple(
        Answer(
            question=question.text,
            expected=question.expected,
            base=before,
            tuned=after,
            scores={
                name: (judge(question.expected, before), judge(question.expected, after))
                for name, judge in judges.items()
            },
        )
        for question, before, after in zip(questions, base_answers, tuned_answers, strict=True)
    )
    return EvalReport(
        job_id=job_id,
        base=base,
        tuned=tuned,
        test_file=test_file,
        examples=len(answers),
        metrics=tuple(_result(name, [answer.scores[name] for answer in answers]) for name in judges),
        answers=answers,
        seconds=seconds,
    )


def _result(metric: str, pairs: Sequence[tuple[bool, bool]]) -> MetricResult:
    count = len(pairs)
    gained = sum(after and not before for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    return MetricResult(
        metric=metric,
        base=sum(before for before, _ in pairs) / count,
        tuned=sum(after for _, after in pairs) / count,
        difference=(gained - lost) / count,
        interval=paired_interval(gained, lost, count),
        gained=gained,
        lost=lost,
    )


def paired_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """Bound the difference of two paired shares at 95 %.

    Wald's interval with half a case added to each cell (Agresti and Min, Statistics in Medicine 24, 2005).
    """
    up, down, total = gained + 0.5, lost + 0.5, count + 2
    middle = (up - down) / total
    spread = Z95 * math.sqrt(up + down - (up - down) ** 2 / total) / total
    return max(-1.0, middle - spread), min(1.0, middle + spread)


def save(report: EvalReport, path: Path) -> None:
    """Write the report aside and put it in place."""
    private.folder(path.parent)
    aside = path.with_suffix(".tmp")
    aside.write_text(report.model_dump_json(indent=1), encoding="utf-8")
    os.replace(aside, path)
