"""Count the tokens of records: exactly, or from a sample with an interval; offline."""

from anytune.data.content import Size, size
from anytune.data.tokens.counter import Counter, counter_for
from anytune.data.tokens.drawn import Drawn
from anytune.data.tokens.estimate import ENOUGH, estimate
from anytune.data.tokens.exact import Exact, count_file
from anytune.data.tokens.measure import Counted, measure
from anytune.data.tokens.over import Candidate, Cut, OverLimit, may_exceed, over_limit

__all__ = [
    "ENOUGH",
    "Candidate",
    "Counted",
    "Counter",
    "Cut",
    "Drawn",
    "Exact",
    "OverLimit",
    "Size",
    "count_file",
    "counter_for",
    "estimate",
    "may_exceed",
    "measure",
    "over_limit",
    "size",
]
