"""What this machine has: cores, memory, a GPU. Read from the system's own files, so torch is not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Hardware:
    """Be the device that trains, with its free memory in bytes; so many `processes` have one, or a part of it, each.

    There may be several such `machines`.
    """

    device: str
    name: str
    cores: int
    memory: int
    bfloat16: bool
    processes: int = 1
    machines: int = 1

    def threads(self, parameters: int) -> int:
        """Return how many threads serve a model of this size best.

        Layers of a few million weights are done before a second thread has woken up (measured: 0.5 to 1.2 times the
        speed with two threads), so such models run on one.
        """
        return 1 if parameters < 15_000_000 else self.cores

    def label(self, cores: int) -> str:
        """Return a name for people."""
        if self.device == "cuda":
            every = self.processes * self.machines
            return self.name if every == 1 else f"{every} × {self.name}"
        busy = min(self.cores, self.processes * cores)
        more = f", {self.processes} processes" if self.processes > 1 else ""
        return f"CPU, {busy} of {self.cores} cores{more}" + (f", {self.machines} machines" if self.machines > 1 else "")


def hardware(processes: int = 1, machines: int = 1) -> Hardware:
    """Look at the machine, of which each of so many processes has a GPU of its own, or a part of the memory."""
    gpu = first_gpu()
    if gpu is not None:
        return replace(gpu, processes=processes, machines=machines)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = read_text("/proc/cpuinfo")
    bfloat16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return Hardware("cpu", "CPU", cores, free_memory() // processes, bfloat16, processes, machines)


def first_gpu() -> Hardware | None:
    """Ask nvidia-smi for the first GPU, None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return None
    query = [tool, "--query-gpu=name,memory.free,compute_cap", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    fields = [field.strip() for field in done.stdout.partition("\n")[0].split(",")]
    if done.returncode != 0 or len(fields) != 3:
        return None
    return Hardware("cuda", fields[0], 1, int(fields[1]) << 20, float(fields[2]) >= 8.0)


def free_memory() -> int:
    """Return the bytes a new process may take: the system's, or the container's if that is less."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = read_text("/sys/fs/cgroup/memory.max"), read_text("/sys/fs/cgroup/memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        free = min(free, int(limit) - int(used))
    return max(0, free)


def read_text(path: str) -> str:
    """Read a system file, empty where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
