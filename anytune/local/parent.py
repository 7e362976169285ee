"""End with the process that asked: where that is killed, nobody holds its locks any more, and another may begin.

A worker that is asked for one answer has a pipe for its stdin, of which the other end is held by who asked, and by
nobody else: it ends when that does, however it does. On Linux the kernel ends the worker, too, at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from threading import Thread

ASKED = "ANYTUNE_ASKED"  # environment variable that tells a worker so
STDIN = 0
ORPHANED = 1  # exit status


def answered(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a worker to its end, or to ours, and return what it said."""
    theirs, ours = os.pipe()
    try:
        return subprocess.run(
            command,
            env={**environment, ASKED: "1"},
            stdin=theirs,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(ours)


def die_with_it() -> None:
    """Have this process end when its parent does, if that waits for its answer."""
    if os.environ.pop(ASKED, None) is None:
        return
    die_by_the_kernel()
    Thread(target=_watch, name="parent", daemon=True).start()


def die_by_the_kernel() -> None:
    """Have the kernel end this process when its parent ends (Linux); it may be gone already."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _watch() -> None:
    while os.read(STDIN, 1 << 16):
        pass
    os._exit(ORPHANED)
