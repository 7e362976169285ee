"""What a job leaves behind: the figures of each step in its result file, and its checkpoints."""

from __future__ import annotations

import base64
import binascii
import csv
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from anytune.providers.openai.answer import EPOCH, id_of, moment, named
from anytune.schema.job import Event
from anytune.schema.model import Checkpoint


def steps(content: bytes, *, remote_id: str, at: datetime | None) -> Iterator[Event]:
    """Read a result file: one event a row, whose figures go by the names in the header; what cannot be read is none.

    The file is CSV; for some time users got it in base64.
    """
    header, *rows = _rows(_text(content)) or [[]]
    if "step" not in header:
        return
    for row in rows:
        figures = {
            name: number for name, cell in zip(header, row, strict=False) if (number := _number(cell)) is not None
        }
        if "step" in figures:
            step = int(figures["step"])
            data = named({**figures, "step": step})
            told = ", ".join(f"{name} {value:g}" for name, value in data.items() if name != "step")
            yield Event(id=f"{remote_id}-step-{step}", at=at or EPOCH, message=f"step {step}: {told}", data=data)


def _rows(text: str) -> list[list[str]]:
    try:
        return list(csv.reader(text.splitlines()))
    except csv.Error:  # as for a cell of more than 131072 letters
        return []


def _text(content: bytes) -> str:
    text = content.decode("utf-8-sig", "replace")
    if "," in text.partition("\n")[0]:
        return text
    try:
        return base64.b64decode(b"".join(content.split()), validate=True).decode("utf-8-sig", "replace")
    except (binascii.Error, ValueError):
        return text


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def checkpoint(told: Mapping[str, Any], *, act: str, model: str) -> Checkpoint:
    """Read a decoded checkpoint, whose model goes by this name."""
    metrics = told.get("metrics")
    figures = named(metrics if isinstance(metrics, Mapping) else {})
    figures.pop("step", None)
    at = moment(told.get("created_at"))
    return Checkpoint(id=id_of(told, act=act), step=_step(told), model=model, at=at, figures=figures)


def as_event(saved: Checkpoint) -> Event:
    """Tell of a checkpoint as of something that happened."""
    message = f"checkpoint at step {saved.step}: {saved.id}"
    return Event(id=saved.id, at=saved.at or EPOCH, message=message, data={**saved.figures, "step": saved.step})


def _step(told: Mapping[str, Any]) -> int:
    step = told.get("step_number")
    return step if type(step) is int else 0
