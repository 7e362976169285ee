"""Run long campaigns and print what they counted; ends with 1 if anything was lost or done twice.

python -m tests.soak [crowd] [writes] [migration] [--rounds 500] [--store sqlite|postgres] [--seed N]
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

CAMPAIGNS: dict[str, Callable[..., Any]] = {
    "crowd": crowd.run,
    "writes": kills.writes,
    "migration": kills.migrations,
    "instants": instants.run,
    "tens": tens.run,
    "faults": faults.run,
    "fuzz": fuzz.run,
}


def main() -> int:
    """Run the campaigns that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("campaign", nargs="*", help=", ".join(CAMPAIGNS), default=list(CAMPAIGNS))
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    good = True
    for name in given.campaign:
        with tempfile.TemporaryDirectory() as folder, places(given.store, Path(folder)) as where:
            began = time.monotonic()
            tally = CAMPAIGNS[name](where, rounds=given.rounds, seed=given.seed)
        counts = ", ".join(f"{what} {value}" for what, value in asdict(tally).items())
        took = time.monotonic() - began
        print(f"{name} on {given.store}, seed {given.seed}: {counts}; {took:.0f} s", flush=True)
        good = good and tally.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
