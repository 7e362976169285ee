"""Events of a run: one JSON object a line, written by the worker and read by everyone."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from anytune.schema.job import Event

Level = Literal["info", "warning", "error"]


def read_events(path: Path) -> list[Event]:
    """Read all whole lines, oldest first; a half line (a killed worker's last) is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(Event.model_validate_json(line))
        except ValidationError:
            continue
    return events


class EventLog:
    """Append events to a file, at most about five progress reports a second."""

    def __init__(self, path: Path, *, interval: float = 0.2) -> None:
        self._count = len(path.read_bytes().splitlines()) if path.exists() else 0
        self._file = path.open("a+b")
        self._interval = interval
        self._last = float("-inf")
        if self._count and not path.read_bytes().endswith(b"\n"):
            self._file.write(b"\n")  # end the half line of a worker that was killed while writing

    def tell(self, message: str, *, level: Level = "info", **data: Any) -> None:
        """Write one event now."""
        self._count += 1
        event = {
            "id": f"event-{self._count:07d}",
            "at": datetime.now(UTC).isoformat(),
            "level": level,
            "message": message,
            "data": data,
        }
        self._file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def due(self) -> bool:
        """Tell whether enough time has passed for another progress report, and count it as made."""
        now = time.monotonic()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True

    def close(self) -> None:
        """Push everything to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()
