"""Run long campaigns, say at the end what held, and end with 1 if something did not.

python -m tests.soak [CAMPAIGN...] [--store sqlite|postgres|both] [--rounds N] [--seed N] [--book FILE]

Without a name all are run. `--rounds` is another length than each has by itself. With `--book` what is through is
written down, and passed over where the same command is given again after it was stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.soak import crowd, day, faults, fuzz, instants, kills, tens, trainings
from tests.soak.place import places

STORES = ("sqlite", "postgres")
SHOWN = 20  # faults of one campaign


@dataclass(frozen=True)
class Campaign:
    """Be one campaign: how long it is, in what, and whether it is one for every store."""

    run: Callable[..., Any]
    rounds: int
    of: str
    every_store: bool = False


def _grid(provider: str) -> Callable[..., Any]:
    return lambda *given, **named: faults.run(*given, **named, only=lambda cell: cell[0].provider.name == provider)


CAMPAIGNS = {
    "crowd": Campaign(crowd.run, 500, "rounds", every_store=True),
    "writes": Campaign(kills.writes, 500, "kills", every_store=True),
    "migration": Campaign(kills.migrations, 500, "kills", every_store=True),
    "instants": Campaign(instants.run, 1000, "kills"),
    "tens": Campaign(tens.run, 60, "crowds of ten"),
    "faults-openai": Campaign(_grid("openai"), 500, "cells"),
    "faults-together": Campaign(_grid("together"), 500, "cells"),
    "faults-fireworks": Campaign(_grid("fireworks"), 500, "cells"),
    "fuzz": Campaign(fuzz.run, 10_000, "answers"),
    "local": Campaign(trainings.run, 100, "kills"),
    "day": Campaign(day.run, 24, "hours"),
}


@dataclass(frozen=True)
class Result:
    """Be what came of one campaign on one store."""

    campaign: str
    store: str
    rounds: int
    seed: int
    good: bool
    took: float
    counts: dict[str, Any]

    def same(self, other: Result) -> bool:
        """Tell whether it is the same work."""
        return (self.campaign, self.store, self.rounds) == (other.campaign, other.store, other.rounds)


def main() -> int:
    """Run the campaigns that were named, or all, each in a process of its own."""
    given = _given()
    if given.alone:
        print(json.dumps(asdict(_run(given.campaign[0], given.store, given.rounds, given.seed))))
        return 0
    seed = random.randrange(10**6) if given.seed is None else given.seed
    stores = STORES if given.store == "both" else (given.store,)
    known, results = list(_read(given.book)), []
    for name, store in _wanted(given.campaign, stores):
        rounds = given.rounds or CAMPAIGNS[name].rounds
        again = Result(name, store, rounds, seed, good=False, took=0, counts={})
        if (result := next((each for each in known if each.same(again)), None)) is None:
            result = _in_a_process(again)
            _write(given.book, result)
        results.append(result)
        print(_told(result), flush=True)
    print(_summary(results))
    return 0 if all(result.good for result in results) else 1


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", nargs="*", help=f"{', '.join(CAMPAIGNS)}, or the beginning of some")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--store", choices=(*STORES, "both"), default="sqlite")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--book", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for word in given.campaign:
        if not any(name.startswith(word) for name in CAMPAIGNS):
            parser.error(f"no campaign is called {word!r}")
    return given


def _wanted(words: Sequence[str], stores: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each campaign once a store, those that are of no store once, on the first."""
    for name, campaign in CAMPAIGNS.items():
        if not words or any(name.startswith(word) for word in words):
            for store in stores if campaign.every_store else ("sqlite",):
                yield name, store


def _in_a_process(wanted: Result) -> Result:
    """Run a campaign where no other has left anything behind; one that breaks off did not hold."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.soak", wanted.campaign, "--alone", "--store", wanted.store]
    command += ["--rounds", str(wanted.rounds), "--seed", str(wanted.seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return Result(**json.loads(done.stdout.splitlines()[-1]))
    counts = {"broken_off": f"it ended with {done.returncode}"}
    took = time.monotonic() - began
    return Result(wanted.campaign, wanted.store, wanted.rounds, wanted.seed, good=False, took=took, counts=counts)


def _run(name: str, store: str, rounds: int, seed: int) -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, places(store, Path(folder)) as where:
        tally = CAMPAIGNS[name].run(where, rounds=rounds, seed=seed)
    counts = {what: value[:SHOWN] if isinstance(value, list) else value for what, value in asdict(tally).items()}
    return Result(name, store, rounds, seed, good=tally.good, took=time.monotonic() - began, counts=counts)


def _read(book: Path | None) -> Iterator[Result]:
    """Yield what is through; what did not hold is run again."""
    if book is not None and book.exists():
        for line in book.read_text(encoding="utf-8").splitlines():
            result = Result(**json.loads(line))
            if result.good:
                yield result


def _write(book: Path | None, result: Result) -> None:
    if book is not None:
        book.parent.mkdir(parents=True, exist_ok=True)
        with book.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def _told(result: Result) -> str:
    counts = ", ".join(f"{what} {value}" for what, value in result.counts.items())
    return f"{result.campaign} on {result.store}, seed {result.seed}: {counts}; {result.took:.0f} s"


def _summary(results: Sequence[Result]) -> str:
    """Say of each campaign whether it held, and how much that is worth."""
    lines = ["", f"{'campaign':18}{'store':10}{'length':>7} {'of':15}{'seed':>7}{'s':>7}  held"]
    for result in results:
        campaign, how = CAMPAIGNS[result.campaign], "yes" if result.good else "NO"
        store = result.store if campaign.every_store else ""
        length = f"{result.rounds:>7,} {campaign.of:15}"
        lines.append(f"{result.campaign:18}{store:10}{length}{result.seed:>7}{result.took:>7.0f}  {how}")
    bad, whole = sum(not result.good for result in results), sum(result.took for result in results)
    said = "all held" if not bad else f"{bad} of {len(results)} did not hold"
    return "\n".join([*lines, "", f"{said}; {whole / 60:.0f} min"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; the same command with --book FILE goes on where it was", file=sys.stderr)
        sys.exit(130)
