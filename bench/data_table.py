"""Hold the figures of bench/data.py against the goals, and lay them out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from data_part import Part

BARE, FULL = "together 3.1.1, structure only", "together 2.13.0, full"
ONE, TWO, WHOLE = "anytune, one thread", "anytune, two threads", "the command `anytune check`"
IMPORTS = "imports only"
COMPILED, UNCOMPILED = "`anytune check`, compiled", "`anytune check`, not compiled"
STOPS = ("json", "mixed")  # the files of which 3.1.1 reads no more than a few lines


class Seen(NamedTuple):
    """Hold the least seconds and the most MB of a variant on a file over all rounds."""

    cpu: float
    wall: float
    peak: float


class Found(NamedTuple):
    """Hold all that was measured: by process and file, on a small file, peaks, parts."""

    figures: dict[tuple[str, str], Seen]
    small: dict[str, Seen]
    memory: dict[str, float]
    parts: dict[str, Part]


class Goal(NamedTuple):
    """Hold one figure against what was promised."""

    name: str
    measured: float
    sense: Literal[">=", "<="]
    wanted: float
    unit: str

    @property
    def met(self) -> bool:
        """Tell whether it is met."""
        return self.measured >= self.wanted if self.sense == ">=" else self.measured <= self.wanted


def goals(found: Found) -> list[Goal]:
    """Return all goals for which there are figures."""
    held = [*_clean(found), *_faulty(found)]
    if (TWO, "clean") in found.figures:
        one, two = ((found.figures[who, "clean"].wall, found.figures[who, IMPORTS].wall) for who in (ONE, TWO))
        held.append(Goal("two threads against one, wall", one[0] / two[0], ">=", 1.6, "×"))
        without = (one[0] - one[1]) / (two[0] - two[1])
        held.append(Goal("two threads against one, wall, without imports", without, ">=", 1.6, "×"))
    held.append(Goal("peak memory of all our runs", max(found.memory.values()), "<=", 64, "MB"))
    if "token estimate" in found.parts:
        held.append(Goal("token estimate", found.parts["token estimate"].cpu, "<=", 0.3, "s"))
    for name, rate in (("privacy scan, core", 15), ("privacy scan, re2", 60)):
        if name in found.parts:
            held.append(Goal(name, found.parts[name].rate, ">=", rate, "MB/s"))
    return [*held, Goal("100 chats, whole process, CPU", found.small[COMPILED].cpu, "<=", 0.25, "s")]


def _clean(found: Found) -> Iterable[Goal]:
    for ours in (ONE, WHOLE):
        for peer, wanted in ((BARE, 2.0), (FULL, 3.0)):
            yield from _ratios(found, (peer, "clean"), (ours, "clean"), wanted)


def _faulty(found: Found) -> Iterable[Goal]:
    for who, kind in found.figures:
        if who == ONE and kind not in (IMPORTS, "clean"):
            yield from _ratios(found, (BARE, "clean" if kind in STOPS else kind), (ONE, kind), 1.0)


def _ratios(found: Found, peer: tuple[str, str], ours: tuple[str, str], wanted: float) -> Iterable[Goal]:
    """Say how many times the CPU seconds of ours the peer takes."""
    file = ours[1] if ours[1] == peer[1] else f"{ours[1]} (its time on the clean file)"
    name = f"{ours[0]} against {peer[0]}: {file}"
    yield Goal(name, found.figures[peer].cpu / found.figures[ours].cpu, ">=", wanted, "×")
    yield Goal(f"{name}, without imports", _bare(found, *peer) / _bare(found, *ours), ">=", wanted, "×")


def _bare(found: Found, who: str, kind: str) -> float:
    """Return the CPU seconds without those of the imports."""
    return found.figures[who, kind].cpu - found.figures[who, IMPORTS].cpu


def text(found: Found) -> str:
    """Lay everything out as Markdown."""
    figures = [
        (f"{who}: {kind}", f"{seen.cpu:.2f}", f"{_bare(found, who, kind):.2f}", f"{seen.wall:.2f}", f"{seen.peak:.0f}")
        for (who, kind), seen in found.figures.items()
    ]
    small = [(name, f"{seen.cpu:.3f}", f"{seen.wall:.3f}", f"{seen.peak:.0f}") for name, seen in found.small.items()]
    memory = [(name, f"{peak:.0f}") for name, peak in found.memory.items()]
    parts = [(part.name, f"{part.cpu:.2f}", f"{part.rate:.0f}", part.note) for part in found.parts.values()]
    held = [
        (goal.name, f"{goal.sense} {goal.wanted:g} {goal.unit}", f"{goal.measured:.3g} {goal.unit}", _verdict(goal))
        for goal in goals(found)
    ]
    return "\n\n".join(
        (
            _table(("process: file", "CPU s", "without imports", "wall s", "peak MB"), figures),
            _table(("100 chats, whole process", "CPU s", "wall s", "peak MB"), small),
            _table(("process: file", "peak MB"), memory),
            _table(("part", "CPU s", "MB of the file a CPU s", "it says"), parts),
            _table(("goal", "wanted", "measured", ""), held),
        )
    )


def _verdict(goal: Goal) -> str:
    return "met" if goal.met else "**missed**"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def document(found: Found) -> dict[str, Any]:
    """Return everything for a machine to read."""
    return {
        "figures": [{"process": who, "file": kind, **seen._asdict()} for (who, kind), seen in found.figures.items()],
        "small": {name: seen._asdict() for name, seen in found.small.items()},
        "memory": found.memory,
        "parts": [{**part._asdict(), "rate": part.rate} for part in found.parts.values()],
        "goals": [{**goal._asdict(), "met": goal.met} for goal in goals(found)],
    }
