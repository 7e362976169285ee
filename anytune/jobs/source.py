"""One provider as the sweep knows it: its turn, who may ask, and what the user was told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from anytune.clock import Clock
from anytune.errors import AnytuneError, ProviderError, RateLimitedError, RejectedError
from anytune.jobs.inquiry import Notice
from anytune.jobs.lane import Lane
from anytune.jobs.lease import Lease
from anytune.jobs.turns import CEILING, Turns

TELL_AFTER = 2  # failures in a row: one alone is no news


@dataclass
class Source:
    """Be one provider in the sweep, `busy` while its lane asks.

    `shut` is why it is not asked any more, `key` which key that was.
    """

    name: str
    pace: Turns
    lease: Lease
    lane: Lane[Any]
    busy: bool = False
    told: bool = False
    shut: AnytuneError | None = None
    key: str | None = None

    def note(self, clock: Clock) -> None:
        """Write down for other processes when it was asked, and when it will be next."""
        if self.lease.held:
            left = max(0.0, self.pace.next - clock.monotonic())
            self.lease.note(clock.now(), then=clock.now() + timedelta(seconds=left))

    def failed(self, error: ProviderError, now: float) -> Iterator[Notice]:
        """Say once that it cannot be asked, when that lasts or is for long."""
        waits = self.pace.next - now
        lasting = self.pace.failures >= TELL_AFTER or isinstance(error, RejectedError)
        if not self.told and (lasting or (isinstance(error, RateLimitedError) and waits > CEILING / 2)):
            self.told = True
            yield Notice(f"{error.message}; its jobs go on, it is asked again in {max(1, round(waits / 60))} min")
