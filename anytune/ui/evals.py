"""Show base against tuned: the measures, and a few answers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from anytune.schema.evals import Answer, EvalReport, MetricResult
from anytune.ui import terminal, words

NAMES = {"exact_match": "exact match", "sql_execution": "execution match"}
EXAMPLES = 3


def show(report: EvalReport, *, on: Console) -> None:
    """Show the table, what it means, and answers that show the change."""
    head = Text("base versus tuned", style="bold")
    questions = words.count(report.examples, "held-out question")
    head.append(f"   {questions} of {words.place(report.test_file)}", style="default not bold")
    on.print(head)
    on.print()
    figures = ("base", "tuned", "difference (95%)", "fixed", "broken")
    table = terminal.columns("", *figures, right=figures, whole=("",), gap=2 if on.width >= 66 else 1)
    for metric in report.metrics:
        low, high = metric.interval
        bounds = f"{100 * metric.difference:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})"
        table.add_row(
            NAMES.get(metric.metric, metric.metric),
            words.share(metric.base),
            Text(words.share(metric.tuned), style="bold"),
            Text(bounds, style=_style(metric)),
            str(metric.gained),
            str(metric.lost),
        )
    terminal.put(on, table)
    on.print()
    terminal.say(on, _meaning(report.metrics))
    for answer in _telling(report.answers):
        on.print()
        terminal.put(on, terminal.pairs(_sides(answer)))


def _style(metric: MetricResult) -> str:
    low, high = metric.interval
    return "green" if low > 0 else "red" if high < 0 else "yellow"


def _meaning(metrics: Sequence[MetricResult]) -> str:
    styles = {_style(metric) for metric in metrics}
    if styles == {"green"}:
        return "Tuned is better than base: no interval reaches down to zero."
    if "red" in styles:
        return "Tuned is worse than base by at least one measure."
    return "Where an interval spans zero, the difference may be chance: test with more questions."


def _telling(answers: Sequence[Answer]) -> list[Answer]:
    """Choose answers that show the change: mostly mended ones, and one that is wrong if there is any."""
    mended = [a for a in answers if any(after and not before for before, after in a.scores.values())]
    broken = [a for a in answers if any(before and not after for before, after in a.scores.values())]
    wrong = [a for a in answers if not any(after for _, after in a.scores.values())]
    one_wrong = (broken or wrong)[:1]
    chosen = mended[: EXAMPLES - len(one_wrong)] + one_wrong
    return chosen + [a for a in answers if a not in chosen][: EXAMPLES - len(chosen)]


def _sides(answer: Answer) -> Iterator[tuple[str, str | Text]]:
    before = any(b for b, _ in answer.scores.values())
    after = any(a for _, a in answer.scores.values())
    yield "question", Text(words.short(answer.question), style="bold")
    yield "wanted", words.short(answer.expected)
    yield "base", _judged(answer.base, right=before)
    yield "tuned", _judged(answer.tuned, right=after)


def _judged(text: str, *, right: bool) -> Text:
    shown = Text(words.short(text, 100) or "(no answer)")
    return shown.append("  right" if right else "  wrong", style="green" if right else "red")


def document(report: EvalReport | None) -> dict[str, Any] | None:
    """Return a comparison as the document of `--json`."""
    return None if report is None else report.model_dump(mode="json")
