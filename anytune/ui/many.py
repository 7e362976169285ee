"""Show all live jobs while they run: a table that redraws on a screen, a line a change in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from anytune.ui import terminal, words
from anytune.ui.jobs import STYLES

if TYPE_CHECKING:
    from anytune.jobs import Look, Sweep, Watched

TENTHS = 10
AROUND = 6  # lines of a screen that the rows leave free
LOUD = {"error": "red", "warning": "yellow"}
COLUMNS = ("job", "state", "provider", "step", "loss", "left", "so far")
NARROW = {"provider": 72, "loss": 80, "so far": 64}  # columns of the screen from which on these are shown
RIGHT = ("step", "loss", "left", "so far")


def watch(looks: Iterable[Look], sweep: Sweep, *, lines: Console) -> None:
    """Show each look until they end; where no screen is there, what changed goes to `lines`."""
    for _ in _on_screen(looks, sweep) if terminal.is_live() else _in_lines(looks, lines):
        pass


def _on_screen(looks: Iterable[Look], sweep: Sweep) -> Iterator[None]:
    console, result = terminal.progress(), terminal.result()
    console.print(Text("\nCtrl-C leaves them running; anytune watch --all comes back", style="dim"))
    with Live(
        console=console, get_renderable=lambda: _drawn(sweep, console), refresh_per_second=2, transient=True
    ) as shown:
        for look in looks:
            for notice in look.notices:
                console.print(Text(words.clean(notice.text), style=LOUD.get(notice.level, "")))
            shown.refresh()
            yield
    if sweep.jobs:
        terminal.put(result, _table(sweep.jobs, result))


def _in_lines(looks: Iterable[Look], lines: Console) -> Iterator[None]:
    told: dict[str, tuple[object, ...]] = {}
    problems = terminal.progress()
    for look in looks:
        for notice in look.notices:
            problems.print(Text(words.clean(notice.text)), soft_wrap=True)
        for job in look.changed:
            mark = (job.state, job.error, TENTHS * job.step // job.steps if job.steps else None)
            if told.get(job.id) != mark and not job.owed:  # the line of its end has its last figures
                told[job.id] = mark
                lines.print(Text(_line(job)), soft_wrap=True)
        lines.file.flush()
        yield


def _line(job: Watched) -> str:
    parts = [f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", job.id, str(job.state), job.provider]
    parts += [f"step {_step(job)}"] if job.steps else []
    parts += [f"loss {job.loss:.4f}"] if job.loss is not None else []
    parts += [words.short(job.error)] if job.error else []
    return "  ".join(parts)


def _drawn(sweep: Sweep, console: Console) -> Group:
    room = max(1, console.height - AROUND)
    jobs = sorted(sweep.jobs, key=lambda job: (not job.live, not job.steps))
    parts: list[Table | Text] = [_table(list(islice(jobs, room)), console)]
    if len(jobs) > room:
        parts.append(Text(f"and {len(jobs) - room:,} more", style="dim"))
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.state] = counts.get(job.state, 0) + 1
    parts.append(Text(", ".join(f"{number:,} {state}" for state, number in counts.items()), style="dim"))
    return Group(*parts)


def _table(jobs: Iterable[Watched], console: Console) -> Table:
    names = [name for name in COLUMNS if console.width >= NARROW.get(name, 0)]
    table = terminal.columns(*names, right=RIGHT, whole=("job", "state", "provider"))
    most = max(12, console.width - 12 * (len(names) - 1))
    for job in jobs:
        cells: dict[str, str | Text] = {
            "job": _shortened(job.id, most),
            "state": Text("stalled?" if job.stalled else str(job.state), style=_style(job)),
            "provider": words.short(job.provider, 12),
            "step": _step(job),
            "loss": f"{job.loss:.3f}" if job.loss is not None else "",
            "left": words.duration(job.left) if job.left is not None and job.live else "",
            "so far": _cost(job),
        }
        table.add_row(*(cells[name] for name in names))
    return table


def _shortened(id: str, most: int) -> str:
    """Keep both ends of an id: the name, and what tells two jobs of one name apart."""
    return id if len(id) <= most else f"{id[: most - 7]}…{id[-6:]}"


def _style(job: Watched) -> str:
    return "yellow" if job.stalled else STYLES.get(job.state, "cyan")


def _step(job: Watched) -> str:
    return f"{job.step:,}/{job.steps:,}" if job.steps else ""


def _cost(job: Watched) -> str:
    """Say what it has cost so far: as told, or about as much as the plan expects for the steps that are done."""
    if job.so_far is None:
        return ""
    return words.money(job.so_far) if job.cost is not None or job.so_far == 0 else f"~{words.money(job.so_far)}"


def document(job: Watched) -> dict[str, Any]:
    """Return a job as it was last seen."""
    return {
        "id": job.id,
        "provider": job.provider,
        "state": str(job.state),
        "stalled": job.stalled,
        "step": job.step or None,
        "steps": job.steps or None,
        "loss": job.loss,
        "seconds_left": job.left,
        "cost": job.cost,
        "cost_so_far": job.so_far,
        "error": job.error,
    }
