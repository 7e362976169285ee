"""How much of what is drawn by lot is tried: a sample on every day, all of it in long campaigns (ANYTUNE_LONG=1)."""

from __future__ import annotations

import os

LONG = os.environ.get("ANYTUNE_LONG", "") == "1"


def examples(number: int) -> int:
    """Return on how many examples to try a law that deserves so many: on every day a fifth of them, at least ten."""
    return number if LONG else min(number, max(number // 5, 10))
