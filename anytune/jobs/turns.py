"""How often a provider is asked: within a budget of calls, never all at once, and less and less while it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from anytune.errors import ProviderError, RateLimitedError

EVERY = {True: 1.0, False: 30.0}  # seconds from one look to the next: on this machine, hosted
RATE = 2.0  # calls a second that a hosted provider gets at most
PAGE = 100  # jobs that one call of a list tells of
CEILING = 900.0  # seconds between two calls to a provider that has long been away
BESIDE = 0.25  # share of the budget that may go to questions about single jobs beside the list
BLIND = 3  # failures in a row after which jobs are asked for one by one, in every second turn
BLIND_FOR = (0.0, 60.0, 480.0, 3600.0)  # seconds for which they are, where that works, the first time, the second, …
GENTLY = 4  # times as far apart as turns are of a provider that never lists
ON_THIS_MACHINE = 1000  # single questions at once, where asking is reading


@dataclass
class Turns:
    """Be one provider's turn: when it is next, and how far apart turns are.

    While it `lists` it is asked for all its jobs in a turn, otherwise for one. What was missed during an outage is
    not caught up with: turns are as far apart after it as before, so that there is no storm.
    """

    local: bool = False
    lists: bool = False
    random: Random = field(default_factory=Random)
    next: float = 0.0
    failures: int = 0
    blinds: int = 0
    blind_until: float = float("-inf")

    def trusts_lists(self, now: float) -> bool:
        """Tell whether to ask by list: not for a while where that failed in a row and single questions did not."""
        return now >= self.blind_until and not (self.failures >= BLIND and self.failures % 2 == 1)

    def interval(self, jobs: int) -> float:
        """Return the seconds within which each of so many jobs is looked at."""
        calls = jobs / PAGE if self.lists else 2 * jobs  # the job and its events
        return EVERY[self.local] if self.local else max(EVERY[False], calls / (RATE * (1 - BESIDE)))

    def singles(self, jobs: int, *, listed: bool = True) -> int:
        """Return how many questions about single jobs a turn has beside the list, or without one to be asked for."""
        if self.local:
            return ON_THIS_MACHINE
        share = BESIDE if listed else 1 - BESIDE
        return max(1, int(self.interval(jobs) * RATE * share)) if self.lists else 1

    def done(self, now: float, jobs: int, *, able: bool) -> None:
        """Set the next turn after a good one, of a provider that is `able` to list or not.

        The jitter keeps many machines from asking in step.
        """
        blind = able and not self.lists
        self.failures = BLIND - 1 if blind else 0
        between = self.interval(jobs) / (1 if self.lists else max(1, jobs))
        if blind:  # whether only lists fail is not known yet: the next turn is a list's, then ever fewer are
            between = between * GENTLY if self.blinds else EVERY[self.local]
            if now >= self.blind_until:
                self.blind_until, self.blinds = now + BLIND_FOR[self.blinds], min(self.blinds + 1, len(BLIND_FOR) - 1)
        elif self.lists:
            self.blinds = 0
        self.next = now + between * self.random.uniform(0.85, 1.0)

    def failed(self, now: float, jobs: int, error: ProviderError) -> None:
        """Set the next turn after a bad one: ever later up to a ceiling, and not before the provider said."""
        self.failures += 1
        growing = min(CEILING, self.interval(jobs) * 2.0 ** min(self.failures, 10)) * self.random.uniform(0.8, 1.2)
        said = (isinstance(error, RateLimitedError) and error.retry_after) or 0.0
        self.next = now + max(growing, said * self.random.uniform(1.0, 1.1))

    def rest(self, now: float) -> None:
        """Set the next turn without having asked."""
        self.next = now + EVERY[self.local]
