"""Over what a run is spread: how many processes train it, on which GPUs, and whether its frozen base is dealt out.

It stands in the environment of the worker: ANYTUNE_PROCESSES is a number, or `auto` for one on each GPU, and
ANYTUNE_SHARD `yes`, `no`, or `auto` for where the base does not fit otherwise. No torch is here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from anytune.errors import UsageError

PROCESSES, SHARD = "ANYTUNE_PROCESSES", "ANYTUNE_SHARD"
MOST = 64
WHOLE = (1,)


def told(processes: int | str, shard: bool | str) -> dict[str, str]:
    """Return what stands in the environment of a worker for these settings."""
    word = shard if isinstance(shard, str) else "yes" if shard else "no"
    return {PROCESSES: str(processes), SHARD: word}


def wanted(environment: Mapping[str, str]) -> int:
    """Return how many processes are to train; raise `UsageError` for what is no number of them."""
    told = environment.get(PROCESSES, "1")
    if told == "auto":
        return max(1, len(gpus(environment)))
    if told.isdecimal() and 1 <= int(told) <= MOST:
        return int(told)
    raise UsageError(f"{PROCESSES} is {told!r}: it should be auto, or a number from 1 to {MOST}")


def gpus(environment: Mapping[str, str]) -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name each."""
    told = environment.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    return [str(n) for n, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]


def own_gpu(rank: int, size: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what lets a process see its own GPU alone; nothing where there are none."""
    found = gpus(environment)
    if not found:
        return {}
    if len(found) < size:
        raise UsageError(f"{size} processes are to train on {len(found)} GPUs: each needs its own")
    return {"CUDA_VISIBLE_DEVICES": found[rank]}


def shards(environment: Mapping[str, str], training: Mapping[str, Any], *, size: int) -> tuple[int, ...]:
    """Return over how many processes the frozen base may be dealt out, what is best first; 1 is not at all.

    Raises `UsageError` where it is to be and cannot.
    """
    told = environment.get(SHARD, "auto")
    if told not in ("auto", "yes", "no"):
        raise UsageError(f"{SHARD} is {told!r}: it should be auto, yes or no")
    if told == "no" or size == 1:
        return WHOLE
    why = against(training)
    if told == "yes" and why is not None:
        raise UsageError(
            f"the base cannot be dealt out over {size} processes: {why}", fix="mend it, or set shard: auto"
        )
    if told == "yes":
        return (size,)
    return WHOLE if why is not None else (1, size)


def against(training: Mapping[str, Any]) -> str | None:
    """Say which setting stands against dealing out the base, None if none does."""
    if training["lora"] is None:
        return "all weights are trained (training.lora is null)"
    if training["quantize"] != "nf4":
        return "it is not in NF4 (training.quantize)"
    return "adapters have dropout (training.lora.dropout)" if training["lora"]["dropout"] else None
