"""Run the processes of bench/data.py: what each one spends, and the environments that they run in."""

from __future__ import annotations

import compileall
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Process(NamedTuple):
    """Name a command, what it runs with beside this process' environment, and the exit codes that are right."""

    name: str
    command: list[str]
    environment: dict[str, str] = {}
    codes: tuple[int, ...] = (0,)


class Spent(NamedTuple):
    """Say what a process and its children took: CPU and wall seconds, MB of the largest, output, last complaint."""

    cpu: float
    wall: float
    peak: float
    printed: str
    said: str


def spend(process: Process) -> Spent:
    """Run once and measure; a wrong exit code ends the bench.

    The peak is never below that of this process, whose memory a new process has for a moment: import nothing large.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        child = subprocess.Popen(process.command, stdout=out, stderr=err, env={**os.environ, **process.environment})
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said = err.read().decode().strip()
        if child.returncode not in process.codes:
            sys.exit(f"{process.name}: exit {child.returncode}\n{said[-2000:]}")
        cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6
        return Spent(cpu, wall, peak, out.read().decode(), said.rpartition("\n")[2])


def together(folder: Path, version: str) -> str:
    """Return the interpreter of an environment with this version of together, made once."""
    home = folder / f"venv-{version}"
    python = home / "bin" / "python"
    done = home / "installed"
    if not done.exists():
        print(f"installing together {version} (once)", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"together=={version}"], check=True)
        done.touch()
    return str(python)


def snapshot(folder: Path, *, compiled: bool) -> dict[str, str]:
    """Copy the package as it stands, compiled as an installer leaves it or not, and return how to run the copy."""
    home = folder / ("compiled" if compiled else "uncompiled")
    shutil.copytree(ROOT / "anytune", home / "anytune", ignore=shutil.ignore_patterns("__pycache__"))
    if compiled:
        compileall.compile_dir(home, quiet=2)
    return {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1", "ANYTUNE_HOME": str(folder / "home")}


def cores_gain() -> float:
    """Return how many times the work of one process two at once do here: what no program of two threads can pass."""
    command = [sys.executable, "-S", "-c", "sum(i * i for i in range(4_000_000))"]

    def wall(processes: int) -> float:
        started = time.perf_counter()
        for child in [subprocess.Popen(command) for _ in range(processes)]:
            child.wait()
        return time.perf_counter() - started

    alone, both = (min(wall(processes) for _ in range(5)) for processes in (1, 2))
    return 2 * alone / both


def machine() -> str:
    """Say what this was measured on."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    gain = f"two processes do {cores_gain():.2f} × the work of one"
    return f"{os.cpu_count()} cores of {model} ({gain}), Python {platform.python_version()}{load}"
