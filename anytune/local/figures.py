"""Count what a preview finds: how long examples are, what is lost of them, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anytune.local.encode import Encoded, Turns
from anytune.local.records import Read, tokens
from anytune.local.training.pair import Pair

LINES = 20  # line numbers that are told of one kind of fault
KINDS = 50  # kinds of faults that are told apart
Shown = Encoded | Turns | Pair


class Fault(NamedTuple):
    """Be the reason why an example would train nothing, or would stop the trainer."""

    message: str
    fix: str | None


@dataclass
class Faults:
    """Collect the lines of faulty examples by the fault."""

    found: dict[Fault, list[int]] = field(default_factory=dict)
    examples: int = 0
    untold: int = 0

    def add(self, line: int, fault: Fault) -> None:
        """Add the fault of one example."""
        self.examples += 1
        if fault in self.found or len(self.found) < KINDS:
            self.found.setdefault(fault, []).append(line)
        else:
            self.untold += 1

    def document(self) -> dict[str, Any]:
        """Return the reasons with the lines they hold for."""
        told = [
            {**fault._asdict(), "examples": len(lines), "lines": lines[:LINES]} for fault, lines in self.found.items()
        ]
        return {"examples": self.examples, "kinds": told, "untold": self.untold}


@dataclass
class Figures:
    """Collect the lengths of all examples, and what is lost of those over the limit."""

    tokens: list[tuple[int, int]] = field(default_factory=list)  # (number, line)
    trained: list[tuple[int, int]] = field(default_factory=list)
    over: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    tokens_lost: int = 0
    cut_answers: int = 0
    lost: int = 0
    openings: int = 0
    encoded: int = 0
    pairs: int = 0

    def add(self, seen: Read[Shown], *, opens: bool) -> None:
        """Add one example with all its sequences; `opens` says that it begins with the model's BOS."""
        item = seen.whole
        self.tokens += [(len(row), row.line) for row in item.rows]
        self.trained += [(row.supervised, row.line) for row in item.rows]
        self.encoded += 1
        self.pairs += isinstance(item, Pair)
        self.openings += opens
        if seen.is_over:
            self.over.append(item.line)
            self.left_out += [item.line] if seen.taught is None else []
            self.tokens_lost += seen.tokens_lost
            self.lost += seen.trained_lost
            self.cut_answers += seen.trained_lost > 0

    def document(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "tokens": spread(self.tokens),
            "trained": spread(self.trained),
            "over": {
                "examples": len(self.over),
                "lines": self.over[:LINES],
                "left_out": len(self.left_out),
                "left_out_lines": self.left_out[:LINES],
                "tokens_lost": self.tokens_lost,
                "answers_cut": self.cut_answers,
            },
            "trained_lost": self.lost,
            "encoded": self.encoded,
            "pairs": self.pairs,
            "bos": self.openings,
        }


def spread(numbers: list[tuple[int, int]]) -> dict[str, int] | None:
    """Return sum, smallest, median, 95th percentile and largest, with the line of the largest."""
    if not numbers:
        return None
    ordered = sorted(numbers)
    last = len(ordered) - 1
    return {
        "total": sum(number for number, _ in ordered),
        "smallest": ordered[0][0],
        "median": ordered[last // 2][0],
        "p95": ordered[round(0.95 * last)][0],
        "largest": ordered[last][0],
        "largest_line": ordered[last][1],
    }


def over(seen: Read[Shown]) -> dict[str, Any] | None:
    """Return how long an example is that is over the limit, and what is lost of it; None of any other."""
    if not seen.is_over:
        return None
    return {
        "tokens": tokens(seen.whole),
        "trained": seen.whole.supervised,
        "tokens_lost": seen.tokens_lost,
        "trained_lost": seen.trained_lost,
        "left_out": seen.taught is None,
    }
