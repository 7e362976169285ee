"""Run the vendors' own test suites, of exactly the SDKs that we pin, against our stand-ins."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from tests.referee.prism import end_with_us

LONGEST = 600  # seconds for one suite
CLOSED = "http://127.0.0.1:9"  # whatever is not on this machine is asked of a proxy that is not there


@dataclass(frozen=True)
class Suite:
    """Be the part of a vendor's suite that speaks of what we use, and what is left out, with the reason."""

    package: str
    paths: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Result:
    """Be what came of a run."""

    passed: int
    skipped: int
    failed: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Count what was not skipped."""
        return self.passed + len(self.failed)


RESOURCES = "tests/api_resources"
OPENAI = Suite(
    "openai",
    (
        f"{RESOURCES}/fine_tuning/jobs",
        f"{RESOURCES}/fine_tuning/checkpoints",
        f"{RESOURCES}/fine_tuning/test_jobs.py",
        f"{RESOURCES}/test_files.py",
        f"{RESOURCES}/test_models.py",
        f"{RESOURCES}/test_uploads.py",
        f"{RESOURCES}/uploads",
    ),
    {f"{RESOURCES}/fine_tuning/alpha": "graders: they belong to reinforcement, which no model takes any more"},
)
TOGETHER = Suite(
    "together",
    (f"{RESOURCES}/test_fine_tuning.py", f"{RESOURCES}/test_files.py"),
    {f"{RESOURCES}/test_models.py": "models to be deployed, which is nothing that we do"},
)


def run(suite: Suite, at: str, *, sources: Path, site: Path) -> Result:
    """Run it against the server at this address."""
    report = site.parent / f"{suite.package}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--junitxml={report}", *suite.paths]
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), CLOSED)
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith(("_API_KEY", "_BASE_URL"))}
    environment = {**kept, **proxies, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(site), "TEST_API_BASE_URL": at}
    try:
        done = subprocess.run(
            command,
            cwd=sources,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST,
            preexec_fn=end_with_us,
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"referee: the suite of {suite.package} took more than {LONGEST} s") from None
    if not report.exists() or done.returncode not in (0, 1):
        raise SystemExit(
            f"referee: the suite of {suite.package} did not run\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        )
    result = read(report)
    if result.failed:
        print(done.stdout[-6000:])
    return result


def read(report: Path) -> Result:
    """Count what pytest wrote down."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    passed, skipped, failed = 0, 0, []
    for case in cases:
        outcome = {part.tag for part in case}
        if outcome & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in outcome:
            skipped += 1
        else:
            passed += 1
    return Result(passed, skipped, failed)
