"""Hold our requests and our stand-ins to what the vendors publish.

    python -m tests.referee --specs DIR

1. The real providers go through all that they can do; Prism holds each request and each answer to the description.
2. The vendors' own test suites ask our stand-ins, under Prism's eyes too.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from tests.referee import services, suites
from tests.referee.tools import ROOT, Tools, fetched

LONGEST = 290  # seconds for everything
NAMES = ("openai.yaml", "together.yaml")


def main() -> None:
    """Judge; exit with 1 when anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=Path, required=True, help="the folder of the published descriptions")
    parser.add_argument("--room", type=Path, default=ROOT / ".referee", help="where fetched tools are kept")
    options = parser.parse_args()
    if not all((options.specs / name).is_file() for name in NAMES):
        print(f"referee: SKIPPED, for there is no {' or no '.join(NAMES)} in {options.specs}")
        return
    _end_in_time()
    start = monotonic()
    tools = fetched(options.room.resolve())
    with tempfile.TemporaryDirectory() as folder:
        faults = [fault for service in services.ALL for fault in judge(service, tools, options.specs, Path(folder))]
    print(f"referee: {monotonic() - start:.0f} s, {len(faults)} faults")
    if faults:
        raise SystemExit("\n".join(["", *faults]))


def judge(service: services.Service, tools: Tools, specs: Path, folder: Path) -> list[str]:
    """Let Prism and the vendor's suite look at one service; return what they object to."""
    description = service.described(specs, folder)
    faults: list[str] = []
    with service.stand_in() as stub, service.watched(stub, tools.prism, description) as seen:
        done = list(service.live(stub, seen.relay.origin, folder))
        faults += seen.told(f"{service.name}: our provider, {len(done)} lives of jobs")
        faults += service.asleep(stub, seen.relay)
    suite = service.suite
    with service.for_suite() as stub, service.watched(stub, tools.prism, description) as seen:
        result = suites.run(suite, seen.relay.origin, sources=tools.suites[suite.package], site=tools.site)
        print(f"{service.name}: the vendor's suite: {result.passed} of {result.total} passed, {result.skipped} skipped")
        faults += [f"{service.name}: failed: {name}" for name in result.failed]
        faults += seen.told(f"{service.name}: the vendor's suite")
    for path, reason in suite.left_out.items():
        print(f"  left out: {path} ({reason})")
    return faults


def _end_in_time() -> None:
    """Leave by the same door, past everything that ends processes, when the time is up or we are told to go."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit("referee: told to end" if number == signal.SIGTERM else f"referee: more than {LONGEST} s")

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGALRM, leave)
    signal.alarm(LONGEST)


if __name__ == "__main__":
    main()
