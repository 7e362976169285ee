"""Show that models are being asked, or that something takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from anytune.ui import terminal, words

T = TypeVar("T")


def counted(work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Do work that tells how many of how many questions are answered: base first, then tuned."""
    console = terminal.progress()
    if not terminal.is_live():
        return work(_in_lines)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=max(10, min(40, console.width - 44))),
        TextColumn("{task.fields[counted]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("opening the base", total=None, counted="")

        def told(done: int, of: int) -> None:
            half = of // 2
            name = "opening the tuned" if done == half else "asking the base" if done < half else "asking the tuned"
            bar.update(task, description=name, completed=done, total=of, counted=f"{done}/{of}")

        return work(told)


def waiting(what: str, work: Callable[[], T]) -> T:
    """Do work that tells nothing while it lasts."""
    if not terminal.is_live():
        terminal.note(f"{what} …")
        return work()
    with terminal.progress().status(Text(what)):
        return work()


def _in_lines(done: int, of: int) -> None:
    if done == 1 or done == of // 2 + 1:
        questions = words.count(of // 2, "question")
        terminal.note(f"asking the {'base' if done == 1 else 'tuned'} model {questions}")
