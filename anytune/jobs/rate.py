"""One budget of calls a provider and key, for all who share a record: submits, watchers and all else draw on it.

It is a bucket of tokens (Turner 1986) that is lent to one at a time, for an instant, where the record is: a sixth of a
minute's calls at once, the rest spread over it, so that no minute has more than its budget. Who finds it empty takes a
place in the line behind those who came before, and waits for it; so nobody starves. A 429 shuts it for everybody, for
as long as the provider says, and lets calls come half as often from then on; each good answer brings them closer
together again. Machines that share it go by the clock of the record's server, however their own go.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TypeVar
from urllib.parse import quote

from anytune.clock import Clock
from anytune.errors import CredentialError, RateLimitedError, StoreError
from anytune.providers.edge import retry_after
from anytune.store import Rates, Slip

T = TypeVar("T")

BURST = 10.0  # seconds' worth of calls that may go out at once after a while without any: a submit, a look
SPREAD = 1 - BURST / 60  # share of the rate that is left for the rest of a minute
LONGEST = 30.0  # seconds that a call waits for its place; what would wait longer is told to come back
SLOWEST = 30.0  # seconds between two calls, however often a provider has refused
UNSAID = (2.0, 60.0)  # seconds for which a 429 without a time shuts the bucket, the first time and at most
NEARER = 0.97  # times the distance between calls, after a good answer
FARTHEST = 2 * 86400.0  # seconds: a provider that names more is asked again before
TOO_MANY = 429
TRIES = 3  # at a record that cannot be had, before a call is given up: nothing went out
AHEAD = 5.0  # seconds: what was written so much later than now was written by a clock that was wrong


@dataclass
class Level:
    """Be how full a bucket is: `free` calls at the time `at`, refilled by one each `apart` seconds from then on.

    `free` below nothing are the places that are taken in the line; `at` lies ahead while the bucket is shut. `refused`
    counts 429s in a row, `shut` how often it was shut at all, `noted` is when this was written.
    """

    free: float
    at: float
    apart: float
    refused: int = 0
    shut: int = 0
    noted: float = 0.0

    def taken(self, now: float, burst: float) -> float:
        """Take a place in the line and return for how many seconds to wait for it."""
        if now > self.at:
            self.free, self.at = min(burst, self.free + (now - self.at) / self.apart), now
        self.free -= 1
        return max(0.0, self.at - now) + max(0.0, -self.free) * self.apart

    def refuse(self, now: float, said: float | None) -> None:
        """Shut the bucket; of several calls that are refused at once the first makes calls come less often.

        The line is dissolved, each time that it is shut for longer: those who wait in it take their places anew, for
        the time after.
        """
        first = now >= self.at
        if first:
            self.refused += 1
            self.apart = min(SLOWEST, 2 * self.apart)
        shortest, longest = UNSAID
        wait = min(longest, shortest * 2.0 ** (self.refused - 1)) if said is None else min(said, FARTHEST)
        if first or now + wait > self.at:
            self.at, self.shut, self.free = max(self.at, now + wait), self.shut + 1, 0.0

    def accept(self, now: float, usual: float) -> None:
        """Let calls come a little closer together; what went out before the bucket was shut says nothing of after."""
        if now >= self.at:
            self.refused, self.apart = 0, max(usual, self.apart * NEARER)


class Bucket:
    """Hold back the calls to one provider; `key` is read when the first call is made, and kept nowhere.

    `rates` is where its state is kept: all who share that place share the budget.
    """

    def __init__(self, rates: Rates, name: str, *, rate: float, key: Callable[[], str], clock: Clock) -> None:
        """Let `rate` calls a second through, in any minute."""
        self._rates, self._name = rates, name
        self._usual, self._burst = 1 / (rate * SPREAD), max(1.0, rate * BURST)
        self._key, self._clock = key, clock

    def before(self) -> None:
        """Wait for a call's place; nothing is sent where it raises.

        Raises `RateLimitedError` where that would take long, `StoreError` where the record cannot be had.
        """
        shut = self._place()
        while _tried(self._times_shut) != shut:
            shut = self._place()

    def _place(self) -> int:
        """Take a place and wait for it; return how often the bucket had been shut before."""
        wait, shut = _tried(self._taken)
        if wait > LONGEST:
            said = f"{self._name}: no call goes out for {wait:.0f} s: it asked for that, or others are before this one"
            raise RateLimitedError(said, retry_after=wait)
        if wait > 0:
            self._clock.sleep(wait)
        return shut

    def _taken(self) -> tuple[float, int]:
        """Take a place; return for how many seconds to wait for it, and how often the bucket has been shut."""
        with self._opened() as (level, now):
            wait = level.taken(now, self._burst)
            if wait > LONGEST:
                level.free += 1  # the place is for somebody else
        return wait, level.shut

    def after(self, status: int, headers: Mapping[str, str]) -> None:
        """Hear how a call was answered; that it cannot be written down must not take the answer away."""
        with suppress(StoreError):
            if status != TOO_MANY and self._is_usual():
                return
            with self._opened() as (level, now):
                if status == TOO_MANY:
                    level.refuse(now, retry_after(headers))
                else:
                    level.accept(now, self._usual)

    def _is_usual(self) -> bool:
        """Tell without waiting whether there is nothing that a good answer would change."""
        found = _read(self._rates.seen(self._slot()))
        return found is None or (found.apart <= self._usual and not found.refused)

    def _slot(self) -> str:
        key = ""
        with suppress(CredentialError):
            key = self._key()
        mark = hashlib.sha256(f"anytune rate {key}".encode()).hexdigest()[:12]
        return f"{quote(self._name, safe='')}-{mark}"

    def _times_shut(self) -> int:
        """Return how often the bucket has been shut: as who has it alone, for half of what is written says nothing."""
        with self._rates.lent(self._slot()) as slip:
            return self._known(slip)[0].shut

    @contextmanager
    def _opened(self) -> Iterator[tuple[Level, float]]:
        """Lend the level, alone, with the time, and write down what became of it."""
        with self._rates.lent(self._slot()) as slip:
            found, now = self._known(slip)
            yield found, now
            found.noted = now
            slip.text = json.dumps(asdict(found))

    def _known(self, slip: Slip) -> tuple[Level, float]:
        """Return the level as it was written down, a full one where that makes no sense, and the time."""
        now = self._clock.now().timestamp() if slip.now is None else slip.now
        found = _read(slip.text)
        if found is None or found.noted > now + AHEAD:
            found = Level(free=self._burst, at=now, apart=self._usual)
        found.apart = max(found.apart, self._usual)
        return found, now


def _tried(act: Callable[[], T]) -> T:
    """Do it again where the record could not be had: a session may have been cut, or somebody fallen asleep with it."""
    for _ in range(TRIES - 1):
        with suppress(StoreError):
            return act()
    return act()


def _read(text: str) -> Level | None:
    """Return what was written down, None where it makes no sense."""
    try:
        told = json.loads(text)
        figures = {name: float(told[name]) for name in ("free", "at", "apart", "noted")}
        return Level(**figures, refused=int(told["refused"]), shut=int(told["shut"]))
    except (ValueError, TypeError, KeyError):
        return None
