"""Run long campaigns and print what they counted; ends with 1 if anything was lost or done twice.

python -m tests.soak [crowd] [writes] [migration] [instants] [tens] [faults] [fuzz] [--rounds N] [--seed N]
python -m tests.soak [crowd] [writes] [migration] --store postgres

Without `--rounds` each campaign has its whole length: 500 rounds of those of the record, 1,000 kills (`instants`), 60
crowds of ten (`tens`), every fault in every call (`faults`), 10,000 answers (`fuzz`).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.soak import crowd, faults, fuzz, instants, kills, tens
from tests.soak.place import places

ALL = 1_000_000  # rounds: more than there are cells
OF_THE_RECORD: dict[str, tuple[Callable[..., Any], int]] = {
    "crowd": (crowd.run, 500),
    "writes": (kills.writes, 500),
    "migration": (kills.migrations, 500),
}
OF_LIVES: dict[str, tuple[Callable[..., Any], int]] = {
    "instants": (instants.run, 1000),
    "tens": (tens.run, 60),
    "faults": (faults.run, ALL),
    "fuzz": (fuzz.run, 10_000),
}
CAMPAIGNS = OF_THE_RECORD | OF_LIVES


def main() -> int:
    """Run the campaigns that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("campaign", nargs="*", help=", ".join(CAMPAIGNS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    good = True
    known = CAMPAIGNS if given.store == "sqlite" else OF_THE_RECORD
    for name in given.campaign or known:
        campaign, rounds = known[name]
        with tempfile.TemporaryDirectory() as folder, places(given.store, Path(folder)) as where:
            began = time.monotonic()
            tally = campaign(where, rounds=given.rounds or rounds, seed=given.seed)
        counts = ", ".join(f"{what} {value}" for what, value in asdict(tally).items())
        took = time.monotonic() - began
        print(f"{name} on {given.store}, seed {given.seed}: {counts}; {took:.0f} s", flush=True)
        good = good and tally.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
