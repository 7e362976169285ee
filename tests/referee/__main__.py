"""Hold our requests and our stand-ins to what the vendors publish.

    python -m tests.referee --specs DIR

1. The real providers go through all that they can do; Prism holds each request and each answer to the description.
2. They ask Prism alone, which answers by itself.
3. The vendors' own test suites ask our stand-ins, under Prism's eyes too.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from anytune.errors import AnytuneError
from tests.referee import mocked, services, suites
from tests.referee.prism import mock
from tests.referee.services import Service
from tests.referee.tools import ROOT, Tools, fetched

LONGEST = 3600  # seconds for everything: a few minutes where nothing else runs
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


def judge(service: Service, tools: Tools, specs: Path, folder: Path) -> list[str]:
    """Let Prism and the vendor's suite look at one service; return what they object to."""
    description = service.described(specs, folder)
    return [
        *_live(service, tools, description, folder),
        *_asked_of_a_mock(service, tools, description, folder),
        *_suite(service, tools, description),
    ]


def _live(service: Service, tools: Tools, description: Path, folder: Path) -> list[str]:
    faults: list[str] = []
    lived = 0
    with service.stand_in() as stub, service.watched(stub, tools.prism, description) as seen:
        try:
            for _ in service.live(stub, seen.relay.origin, folder):
                lived += 1
        except (AnytuneError, AssertionError) as error:
            faults.append(f"{service.name}: our provider did not come to the end of its work: {error!r}")
        faults += seen.told(f"{service.name}: our provider, {lived} lives of jobs")
        return faults or service.asleep(stub, seen.relay)


def _asked_of_a_mock(service: Service, tools: Tools, description: Path, folder: Path) -> list[str]:
    with mock(tools.prism, description) as prism:
        ends = list(mocked.asked(service.acts(prism.origin, folder)))
    faults = [f"{service.name}: {fault}" for _, fault in ends if fault]
    print(f"{service.name}: our provider, asking Prism alone: {len(ends)} acts, {len(faults)} refused or broken")
    return faults


def _suite(service: Service, tools: Tools, description: Path) -> list[str]:
    suite, name = service.suite, f"{service.name}: the vendor's suite"
    with service.for_suite() as stub, service.watched(stub, tools.prism, description) as seen:
        result = suites.run(suite, seen.relay.origin, sources=tools.suites[suite.package], site=tools.site)
        print(f"{name}: {result.passed} of {result.total} passed, {result.skipped} skipped by itself")
        faults = [f"{name}: failed: {case}" for case in result.failed]
        faults += [] if result.passed else [f"{name}: no test was run"]
        faults += seen.told(name)
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
