"""Show a job while it runs: a bar that redraws on a screen, a line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from anytune.schema.job import Event, Job, JobState
from anytune.ui import terminal, words
from anytune.ui.jobs import LEVELS, state

if TYPE_CHECKING:
    from anytune.jobs import Update

BLOCKS = "▁▂▃▄▅▆▇█"
TENTHS = 10


@dataclass
class Sight:
    """Be what is known of a run so far; figures come from events, whichever of them a provider gives."""

    job: Job
    began: float = field(default_factory=time.monotonic)
    step: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    valid: float | None = None
    accuracy: float | None = None
    rate: float | None = None
    left: float | None = None
    said: str = ""

    def take(self, event: Event) -> None:
        """Take in one event."""
        data = event.data
        self.step = int(_figure(data.get("step")) or self.step)
        self.steps = int(_figure(data.get("total_steps")) or self.steps)
        if (loss := _figure(data.get("loss", data.get("train_loss")))) is not None:
            self.losses.append(loss)
        self.valid = _either(_figure(data.get("valid_loss")), self.valid)
        self.accuracy = _either(_figure(data.get("accuracy")), self.accuracy)
        self.rate = _either(_figure(data.get("tokens_per_second")), self.rate)
        self.left = _either(_figure(data.get("eta_seconds", data.get("eta"))), self.left)
        self.said = words.short(event.message)

    def figures(self) -> Iterator[str]:
        """Say the figures that are known."""
        if self.losses:
            yield f"loss {self.losses[-1]:.4f}"
        if self.valid is not None:
            yield f"validation {self.valid:.4f}"
        if self.accuracy is not None:
            yield f"accuracy {words.share(self.accuracy)}"
        if self.rate is not None:
            yield f"{self.rate:,.0f} tokens/s"
        if self.left is not None and self.step < self.steps:
            yield f"{words.duration(self.left)} left"


def watch(updates: Iterable[Update], job: Job, *, known: Sequence[Event] = ()) -> Job:
    """Show each look at the job until they end, and return it as last seen; the events known before count, too."""
    sight = Sight(job)
    for event in known:
        sight.take(event)
    seen = _on_screen(updates, sight) if terminal.is_live() else _in_lines(updates, sight)
    for _ in seen:
        pass
    return sight.job


def _on_screen(updates: Iterable[Update], sight: Sight) -> Iterator[None]:
    console = terminal.progress()
    console.print(Text(f"\nCtrl-C leaves it running; anytune watch {sight.job.id} comes back", style="dim"))
    spinner = Spinner("dots", style="cyan")

    def drawn() -> Group:
        return _drawn(sight, spinner, console)

    with Live(console=console, get_renderable=drawn, refresh_per_second=8, transient=True):
        for update in updates:
            for event in _taken(update, sight):
                if event.level != "info":
                    console.print(Text(words.clean(event.message), style=LEVELS[event.level]))
            yield


def _in_lines(updates: Iterable[Update], sight: Sight) -> Iterator[None]:
    console = terminal.progress()
    told_state, told_tenth = None, -1
    for update in updates:
        for event in _taken(update, sight):
            tenth = TENTHS * sight.step // sight.steps if sight.steps and "step" in event.data else None
            if tenth is None or event.level != "info":
                console.print(Text(words.clean(event.message)), soft_wrap=True)
            elif tenth != told_tenth:
                told_tenth = tenth
                line = (f"step {sight.step:,} of {sight.steps:,}", *sight.figures())
                console.print(Text("   ".join(line)), soft_wrap=True)
        if (sight.job.state, sight.job.error) != told_state:
            told_state = (sight.job.state, sight.job.error)
            why = f": {words.clean(said)}" if (said := _said(sight.job)) else ""
            console.print(Text(f"{sight.job.id} {sight.job.state}{why}"), soft_wrap=True)
        yield


def _said(job: Job) -> str | None:
    """Return what is wrong with a job; of one that is in no known state the word that its provider has for it."""
    if job.error is None and job.state is JobState.UNKNOWN and job.remote is not None:
        return f"{job.provider} says {job.remote.status!r}, which is unheard of here"
    return job.error


def _taken(update: Update, sight: Sight) -> Iterator[Event]:
    sight.job = update.job
    for event in update.events:
        sight.take(event)
        yield event


def _drawn(sight: Sight, spinner: Spinner, console: Console) -> Group:
    passed = words.duration(time.monotonic() - sight.began)
    head = Table.grid(padding=(0, 1))
    head.add_row(spinner, Text.assemble((sight.job.id, "bold"), "  ", state(sight.job), (f"  {passed}", "dim")))
    parts: list[Table | Text] = [head]
    if sight.steps:
        parts.append(_bar(sight, console))
        parts.append(Text("  " + "   ".join(sight.figures()), overflow="fold"))
        if len(sight.losses) > 1 and _has_blocks(console):
            room = min(60, console.width - 8)
            parts.append(Text.assemble(("  loss ", "dim"), (_curve(sight.losses, room), "cyan")))
    elif sight.said:
        parts.append(Text(f"  {sight.said}", style="dim"))
    if said := _said(sight.job):
        parts.append(Text(f"  {words.clean(said)}", style="yellow"))
    return Group(*parts)


def _bar(sight: Sight, console: Console) -> Table:
    counted = f"step {sight.step:,} of {sight.steps:,}"
    room = max(8, min(40, console.width - len(counted) - 12))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        f" {counted}",
        ProgressBar(total=sight.steps, completed=sight.step, width=room),
        Text(f"{100 * sight.step // sight.steps}%", style="dim"),
    )
    return bar


def _curve(losses: Sequence[float], room: int) -> str:
    """Draw the losses as one line of blocks, each the mean of its share of the steps."""
    wide = min(room, len(losses))
    edges = [len(losses) * n // wide for n in range(wide + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / ((high - low) or 1)
    return "".join(BLOCKS[round((mean - low) * scale)] for mean in means)


def _has_blocks(console: Console) -> bool:
    return console.encoding.startswith("utf")


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def _either(new: float | None, old: float | None) -> float | None:
    return old if new is None else new
