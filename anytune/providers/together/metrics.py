"""Together's figures of a training run, as events: losses and rates by step, in rows beside the list of events.

A row is flat (`train/loss`, `eval/loss`, `train/global_step`); rows of training and of evaluation are apart.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from anytune.providers.together.answer import BEFORE_ALL
from anytune.schema.job import Event

STEP = "global_step"
NAMES = {
    "train/loss": "loss",
    "eval/loss": "valid_loss",
    "train/learning_rate": "learning_rate",
    "train/grad_norm": "grad_norm",
}
SHOWN = {"loss": "loss", "valid_loss": "validation loss"}
SINCE = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
UNTIL = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


def have_begun(events: Sequence[Event]) -> bool:
    """Tell whether there can be figures: whether an event tells of training."""
    return any(_step(event) or _is_start(event) for event in events)


def _step(event: Event) -> int:
    step = event.data.get("step")
    return step if isinstance(step, int) else 0


def _is_start(event: Event) -> bool:
    return str(event.data.get("type")).lower() == "training_start"


def events_of(rows: Sequence[Mapping[str, Any]], *, among: Sequence[Event], remote_id: str) -> list[Event]:
    """Return the rows as events, put among the others: each after the last that tells of no later step.

    Where a row does not say when it was logged, it is given the time of that event.
    """
    marks = _marks(among)
    found = [event for row in rows if (event := _event(row, marks, remote_id)) is not None]
    return list({event.id: event for event in found}.values())


def _marks(events: Sequence[Event]) -> list[tuple[int, datetime]]:
    """Return from which step on which time holds: that of the start, then of each event that tells of a step."""
    told = sorted((step, event.at) for event in events if (step := _step(event)))
    first = min((at for _, at in told), default=None)
    started = [e.at for e in events if _is_start(e) or (first is not None and e.at <= first and not _step(e))]
    return [(0, max(started, default=BEFORE_ALL)), *told]


def _event(row: Mapping[str, Any], marks: Sequence[tuple[int, datetime]], remote_id: str) -> Event | None:
    figures = {key: float(value) for key, value in row.items() if _is_figure(value)}
    step = next((int(value) for key, value in figures.items() if key.rpartition("/")[2] == STEP), None)
    data = {ours: figures[theirs] for theirs, ours in NAMES.items() if theirs in figures}
    if step is None or not data:
        return None
    kind = "train" if any(key.startswith("train/") and key != f"train/{STEP}" for key in figures) else "eval"
    before = bisect_right(marks, step, key=lambda mark: mark[0]) - 1
    said = ", ".join(f"{word} {data[name]:.4f}" for name, word in SHOWN.items() if name in data)
    return Event(
        id=f"{remote_id}-{kind}-{step}",
        at=_logged(figures) or marks[max(0, before)][1],
        message=f"step {step}: {said}" if said else f"step {step}",
        data={"type": "metrics", "step": step, **data},
    )


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _logged(figures: Mapping[str, float]) -> datetime | None:
    at = next((value for key, value in figures.items() if key.rpartition("/")[2] == "timestamp"), None)
    return datetime.fromtimestamp(at, UTC) if at is not None and SINCE < at < UNTIL else None
