"""A worker that was asked for one answer ends with who asked, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anytune.local import parent

ASKS = "import sys; from anytune.local.parent import answered; answered([sys.executable, '-c', *sys.argv[1:]], {!r})"
BY_THE_PIPE = "from anytune.local import parent; parent.die_by_the_kernel = lambda: None\n"
LASTS = "import os, sys, time; from anytune.local import parent; parent.die_with_it()\n"
LASTS += "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)\n"


def lives(pid: int) -> bool:
    """Tell whether a process lives; one that ended and is not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(happened: object) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if happened():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.mark.engine
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look at a process by")
@pytest.mark.parametrize("how", [LASTS, BY_THE_PIPE + LASTS], ids=["the kernel", "the pipe"])
def test_it_ends_when_who_asked_is_killed(tmp_path: Path, how: str) -> None:
    said = tmp_path / "pid"
    asks = subprocess.Popen([sys.executable, "-c", ASKS.format(dict(os.environ)), how, str(said)])
    assert soon(lambda: said.exists() and said.read_text())
    worker = int(said.read_text())
    assert lives(worker)
    asks.send_signal(signal.SIGKILL)
    asks.wait()
    assert soon(lambda: not lives(worker))


def test_what_it_says_comes_back_and_its_end_is_heard() -> None:
    code = "import sys; from anytune.local import parent; parent.die_with_it()\n"
    code += "print('\\u00e9'); sys.stderr.write('why'); sys.exit(3)"
    done = parent.answered([sys.executable, "-c", code], {**os.environ, "PYTHONUTF8": "1"})
    assert (done.stdout, done.stderr, done.returncode) == ("\u00e9\n", "why", 3)
