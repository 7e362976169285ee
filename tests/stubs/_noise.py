"""Noise: faults of every kind that strike a share of all calls, whatever they are."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.stubs._call import Call, Fault, Reply

BUSY = Reply(429, {"error": {"message": "slow down"}})
BUSY_FOR = Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "2"})
BROKEN = Reply(500, {"error": {"message": "something broke"}})
AWAY = Reply(503, {"error": {"message": "come back later"}})
KINDS = (
    Fault("*", "answer", reply=BUSY),
    Fault("*", "answer", reply=BUSY_FOR),
    Fault("*", "answer", reply=BROKEN),
    Fault("*", "answer", reply=AWAY),
    Fault("*", "answer", when="after", reply=BROKEN),
    Fault("*", "drop"),
    Fault("*", "drop", when="after"),
    Fault("*", "cut", when="after"),
    Fault("*", "break", when="after"),
)


@dataclass
class Noise:
    """Strike `share` of all calls. A 429 always comes before the work: one that lied could not be told from others."""

    share: float = 0.0
    seed: int = 0
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def strike(self, call: Call) -> Fault | None:
        """Return the fault that hits this call, if one does."""
        del call
        return self._chance.choice(KINDS) if self._chance.random() < self.share else None
