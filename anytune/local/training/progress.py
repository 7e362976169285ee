"""What a run has done so far, and how fast it goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Count what a run has done; saved with each checkpoint, so it spans interruptions."""

    step: int = 0
    tokens: int = 0
    computed: int = 0  # with filler, and what sequences share once
    supervised: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    epoch_loss: float = 0.0  # sums over the epoch so far
    epoch_tokens: int = 0  # supervised tokens; where pairs are compared, pairs
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_figures: dict[str, Any] = field(default_factory=dict)  # what else the last validation told


class Clock:
    """Measure training alone: it stands still while the run validates and saves."""

    def __init__(self, done: Progress) -> None:
        self._done = done
        self._first = (done.step, done.tokens, done.seconds)
        self.start()

    def start(self) -> None:
        """Go on measuring."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Add what has passed to the run's account."""
        self._done.seconds += time.perf_counter() - self._wall
        self._done.cpu_seconds += time.process_time() - self._cpu
        self.start()

    def rate(self) -> float:
        """Return tokens a second since this worker began."""
        return (self._done.tokens - self._first[1]) / max(1e-9, self._done.seconds - self._first[2])

    def left(self, last: int) -> float:
        """Return the seconds that the remaining steps will take."""
        per_step = (self._done.seconds - self._first[2]) / max(1, self._done.step - self._first[0])
        return per_step * (last - self._done.step)
