"""Show jobs, one or many, their events, and what can be done with one now."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.schema.job import Event, Job, JobState, Summary
from anytune.schema.model import Checkpoint
from anytune.schema.plan import Deviation
from anytune.ui import terminal, words
from anytune.ui.plan import price

STYLES = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "red",
    JobState.PAUSED: "yellow",
    JobState.UNKNOWN: "yellow",
}
COLUMNS = ("job", "state", "provider", "made", "model", "cost")
LEFT_OUT = ("model", "cost", "made", "provider")  # where there is no room, in this order
RIGHT = ("cost",)
GAP = 2  # blanks between two columns
AGAIN = "anytune run FILE --again"
LEVELS = {"info": "", "warning": "yellow", "error": "red"}


def state(job: Job | Summary) -> Text:
    """Name the state in its colour."""
    return Text(str(job.state), style=STYLES.get(job.state, "cyan"))


def many(jobs: Sequence[Summary], *, newest: int | None = None) -> None:
    """Show one line a job, or only the `newest`; a narrow screen gets fewer columns, but each of them whole.

    The lines are laid out here: rich takes half a millisecond for each row of a table.
    """
    on = terminal.screen(sys.stdout)
    rows = [_row(job) for job in jobs[:newest]]
    wide = {name: max(len(name), *(_cells(row[name]) for row in rows)) for name in COLUMNS}
    names = _fitting(wide, on.width) if on is not None else list(COLUMNS)
    heads = [_laid_out({name: name for name in COLUMNS}, wide, names, dict.fromkeys(names, "bold"))]
    terminal.write(heads, on=on)
    terminal.write((_laid_out(row, wide, names, {"state": _style(row["state"])}) for row in rows), on=on)
    terminal.left_out([name for name in ("made", "provider", "model", "cost") if name not in names])
    if len(jobs) > len(rows):
        terminal.note(f"and {len(jobs) - len(rows):,} earlier; anytune list --all shows them, too")


def _row(job: Summary) -> dict[str, str]:
    return {
        "job": job.id,
        "state": str(job.state),
        "provider": job.provider,
        "made": words.ago(job.created_at),
        "model": _model(job.model),
        "cost": _cost(job),
    }


@cache
def _model(name: str) -> str:
    """Name a model; many jobs have the same."""
    return words.short(words.model(name), 48)


def _fitting(wide: Mapping[str, int], width: int) -> list[str]:
    """Leave out columns until the rest fits."""
    names = list(COLUMNS)
    for name in LEFT_OUT:
        if sum(wide[name] + GAP for name in names) - GAP <= width:
            break
        names.remove(name)
    return names


def _laid_out(
    row: Mapping[str, str], wide: Mapping[str, int], names: Sequence[str], styles: Mapping[str, str]
) -> terminal.Line:
    parts = []
    for name in names:
        blanks = " " * (wide[name] - _cells(row[name]))
        gap = " " * GAP if name != names[-1] else ""
        before, after = (blanks, gap) if name in RIGHT else ("", (blanks + gap) if gap else "")
        parts.append((f"{before}{row[name]}{after}", styles.get(name, "")))
    return terminal.Line(tuple(parts), indent=None)


def _cells(text: str) -> int:
    """Return how many cells of a screen a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _style(state: str) -> str:
    return STYLES.get(JobState(state), "cyan")


def one(job: Job, *, events: Sequence[Event] = (), on: Console) -> None:
    """Show how one job stands; figures and losses stand in its events."""
    on.print(Text.assemble((job.id, "bold"), "  ", state(job)))
    terminal.put(on, terminal.pairs([*_facts(job), *_progress(job, events), *_losses(events), *_checkpoints(events)]))


def events(happened: Sequence[Event], *, on: Console) -> None:
    """Show what happened, oldest first."""
    if not happened:
        terminal.say(on, "nothing has happened so far", style="dim")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for event in happened:
        when = event.at.astimezone().strftime("%H:%M:%S" if on.width < 80 else "%Y-%m-%d %H:%M:%S")
        table.add_row(when, Text(words.clean(event.message), style=LEVELS[event.level]))
    terminal.put(on, table)


def checkpoints(saved: Sequence[Checkpoint], *, on: Console) -> None:
    """Show the models of the way there, one a line, with what was measured of each."""
    if not saved:
        terminal.say(on, "no checkpoint is kept so far", style="dim")
        return
    measured = [name for name in ("loss", "valid_loss", "full_valid_loss") if any(name in c.figures for c in saved)]
    hidden = ["model"] if on.width < 100 else []
    names = ("step", *measured, "made", *(["model"] if not hidden else []))
    table = terminal.columns(*names, right=("step", *measured), whole=("step", *measured))
    for each in saved:
        losses = (each.figures.get(name) for name in measured)
        shown = [f"{loss:.4f}" if isinstance(loss, int | float) else "" for loss in losses]
        row = [str(each.step), *shown, words.ago(each.at) if each.at else "", words.clean(each.model)]
        table.add_row(*row[: len(names)])
    terminal.put(on, table)
    terminal.left_out(hidden)


def told(job: Job, *, as_json: bool, **also: Any) -> None:
    """Say how a job stands after the user's word: a line, or a document with what `also` was told, and what is next."""
    if as_json:
        terminal.emit({"job": document(job), **also}, then=then(job))
        return
    print(f"{job.id} {job.state}")
    terminal.next_commands(then(job))


def then(job: Job, *, after: Sequence[str] = (), again: str = AGAIN) -> list[terminal.Command]:
    """Name the commands that make sense in this state; the verbs in `after` have just been done.

    `again` is the command that makes another job, where the job file is known.
    """
    return [(command, why) for command, why in _sensible(job, again) if command.split()[1] not in after]


def _sensible(job: Job, again: str) -> Iterator[terminal.Command]:
    match job.state:
        case JobState.SUCCEEDED:
            yield f"anytune chat {job.id}", "ask it something"
            yield f"anytune eval {job.id}", "compare it with its base"
            can = job.plan.capabilities
            if can.weights_downloadable:
                yield (
                    f"anytune export {job.id} --to {'merged' if can.local else 'adapter'}",
                    "take the weights with you",
                )
        case JobState.PAUSED:
            yield f"anytune resume {job.id}", "go on from the last checkpoint"
        case JobState.FAILED:
            yield f"anytune show {job.id}", "how it ended"
            if job.remote is not None:  # else it failed before anything could happen
                yield f"anytune events {job.id}", "what happened before"
            yield again, "make another, once the cause is mended"
        case JobState.CANCELLED:
            yield again, "make another"
            yield "anytune list", "all jobs"
        case _:
            yield f"anytune watch {job.id}", "follow it"
            if job.state is not JobState.CANCELLING:
                yield f"anytune cancel {job.id}", "stop it"


def _facts(job: Job) -> Iterator[tuple[str, str | Text]]:
    spec, remote = job.plan.spec, job.remote
    yield "name", spec.name if job.attempt == 1 else f"{spec.name}, attempt {job.attempt}"
    yield "trains", f"{spec.method} of {words.model(spec.model)} at {job.provider}"
    for refused in job.instead_of:
        yield "instead of", words.clean(refused)
    for file in job.plan.files:
        yield file.role, f"{words.place(file.path)}, {words.count(file.examples, 'example')}"
    yield "made", f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S} ({words.ago(job.created_at)})"
    if remote is not None and remote.finished_at is not None:
        took = words.duration((remote.finished_at - job.created_at).total_seconds())
        yield "ended", f"{remote.finished_at.astimezone():%Y-%m-%d %H:%M:%S} (after {took})"
    if remote is not None and not job.plan.capabilities.local:
        yield "there", f"{remote.id}: {remote.status}"
    if remote is not None and remote.settings:
        yield "settings", ", ".join(f"{name} {words.value(value)}" for name, value in remote.settings.items())
    if remote is not None and remote.trained_tokens is not None:
        yield "trained", words.count(remote.trained_tokens, "token")
    if job.cost is not None:
        yield "cost", f"{words.money(job.cost)}, {job.cost_basis}" if job.cost_basis else words.money(job.cost)
    if not job.plan.capabilities.local or job.plan.cost.expected:
        if job.quote is not None:
            yield "quote", f"{words.money(job.quote)}, by {job.provider} before it began"
        yield "estimate", f"{price(job.plan.cost)}{_off(job.deviation)}"
    if remote is not None and remote.model is not None:
        yield "model", words.model(remote.model)
    if job.error:
        yield "error", Text(words.clean(job.error), style="red")
    if job.cause:
        yield "cause", job.cause


def _off(found: Deviation | None) -> str:
    """Say how good an estimate was."""
    if found is None:
        return ""
    if not found.usd or (found.share is not None and abs(found.share) < 0.005):
        return ", and so it was"
    how = "more" if found.usd > 0 else "less"
    much = words.money(abs(found.usd)) if found.share is None else words.share(abs(found.share))
    return f", it was {much} {how}{'' if found.within else ', outside what was told'}"


def _progress(job: Job, events: Sequence[Event]) -> Iterator[tuple[str, str | Text]]:
    """Say how far a running job is, by the last event that tells each figure."""
    if job.state is not JobState.RUNNING:
        return
    told: dict[str, Any] = {}
    for event in events:
        told |= {name: value for name, value in event.data.items() if isinstance(value, int | float)}
    if "step" in told:
        yield "step", f"{told['step']:,.0f}" + (f" of {told['total_steps']:,.0f}" if "total_steps" in told else "")
    if "tokens_per_second" in told:
        yield "speed", f"{told['tokens_per_second']:,.0f} tokens/s"
    if (left := told.get("eta_seconds", told.get("eta"))) is not None:
        yield "left", f"about {words.duration(left)}"


def _losses(events: Sequence[Event]) -> Iterator[tuple[str, str | Text]]:
    for name, keys in (("loss", ("loss", "train_loss")), ("validation loss", ("valid_loss",))):
        found = [e.data[k] for e in events for k in keys if isinstance(e.data.get(k), int | float)]
        if found:
            yield name, f"{found[-1]:.4f} (first {found[0]:.4f})"


def _checkpoints(events: Sequence[Event]) -> Iterator[tuple[str, str | Text]]:
    """List the steps of which a provider's events say that they were saved."""
    steps = {e.data.get("step") for e in events if e.data.get("type") == "checkpoint_save"}
    if known := sorted(step for step in steps if isinstance(step, int) and step > 0):
        yield "checkpoints", words.short(f"at step {', '.join(map(str, known))}")


def _cost(job: Summary) -> str:
    if job.cost is not None:
        return words.money(job.cost)
    told = job.estimated_cost.get("expected")
    if told is None:
        return "?"
    expected = Decimal(str(told))
    shown = words.money(expected, rounded=job.estimated_cost.get("as_of") is not None)
    return shown if expected == 0 or shown.startswith("<") else f"~{shown}"


def document(job: Job) -> dict[str, Any]:
    """Return a job as the document of `--json`: short, without the whole plan."""
    return Summary.of(job).model_dump(mode="json")
