"""Over what a run is spread: how many processes train it, on which GPUs, and whether its frozen base is dealt out.

It stands in the environment of the worker: ANYTUNE_PROCESSES is a number, or `auto` for one on each GPU, and
ANYTUNE_SHARD `yes`, `no`, or `auto` for where the base does not fit otherwise. Of several machines each has as many
processes: ANYTUNE_NNODES says how many machines there are, and ANYTUNE_RENDEZVOUS (host:port) where the one that leads
listens; ANYTUNE_MACHINES has the patterns of the hosts that the user lets data reach. No torch is here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from anytune.errors import RefusedError, UsageError

PROCESSES, SHARD = "ANYTUNE_PROCESSES", "ANYTUNE_SHARD"
MACHINES, MEETING = "ANYTUNE_NNODES", "ANYTUNE_RENDEZVOUS"
KNOWN = "ANYTUNE_MACHINES"
ALL = "ANYTUNE_GPUS"  # those of the machine, where a process sees its own alone
MOST = 64
WHOLE = (1,)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def told(processes: int | str, shard: bool | str, machines: Sequence[str] = ()) -> dict[str, str]:
    """Return what stands in the environment of a worker for these settings."""
    word = shard if isinstance(shard, str) else "yes" if shard else "no"
    return {PROCESSES: str(processes), SHARD: word, KNOWN: ",".join(machines)}


def wanted(environment: Mapping[str, str]) -> int:
    """Return how many processes are to train; raise `UsageError` for what is no number of them."""
    told = environment.get(PROCESSES, "1")
    if told == "auto":
        return max(1, len(gpus(environment)))
    if told.isdecimal() and 1 <= int(told) <= MOST:
        return int(told)
    raise UsageError(f"{PROCESSES} is {told!r}: it should be auto, or a number from 1 to {MOST}")


def machines(environment: Mapping[str, str]) -> int:
    """Return how many machines are to train; raise `UsageError` for what is no number of them."""
    told = environment.get(MACHINES) or "1"
    if told.isdecimal() and 1 <= int(told) <= MOST:
        return int(told)
    raise UsageError(f"{MACHINES} is {told!r}: it should be a number from 1 to {MOST}")


def meeting(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Return where several machines meet, None for one alone; raise `UsageError` where no such place is named."""
    if machines(environment) == 1:
        return None
    return place(environment.get(MEETING, ""), named=MEETING)


def place(told: str, *, named: str) -> tuple[str, int]:
    """Return host and port of an address; raise `UsageError` for what is none."""
    host, _, port = told.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{named} is {told!r}: it should be host:port, of the machine that leads")
    return host.strip("[]"), int(port)


def require_named(environment: Mapping[str, str], request: Mapping[str, Any]) -> None:
    """Raise `RefusedError` where other machines are to train on data that, by the request, stay on this one.

    The user's own settings may name whom they may reach all the same, by patterns of the rendezvous' host.
    """
    where = meeting(environment) if request.get("residency") == "local" else None
    known = environment.get(KNOWN, "").split(",")
    if where is None or where[0] in LOOPBACK or any(fnmatchcase(where[0].lower(), name) for name in known):
        return
    raise RefusedError(
        f"data.residency: local, and {MEETING} is {where[0]}:{where[1]}: the data stay on this machine",
        fix=f"name {where[0]} under profiles.local.machines in your own config.yaml, if they may be there, too",
    )


def everywhere(environment: Mapping[str, str]) -> int:
    """Return how many processes are to train on all machines."""
    return wanted(environment) * machines(environment)


def gpus(environment: Mapping[str, str]) -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES would name each."""
    told = environment.get(ALL) or environment.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name.strip() for name in told.split(",") if name.strip()]
    if (tool := shutil.which("nvidia-smi")) is None:
        return []
    done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    return [str(n) for n, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]


def own_gpu(rank: int, size: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what lets a process see its own GPU alone, and know of the others; nothing where there are none."""
    found = gpus(environment)
    if not found:
        return {}
    if len(found) < size:
        raise UsageError(f"{size} processes are to train on {len(found)} GPUs: each needs its own")
    return {"CUDA_VISIBLE_DEVICES": found[rank], ALL: ",".join(found)}


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


def reckoned(environment: Mapping[str, str], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many processes a machine has, how many machines there are, and over how many the base may be dealt."""
    parted = shards(environment, training, size=everywhere(environment))
    return {"processes": wanted(environment), "machines": machines(environment), "shards": parted}


def against(training: Mapping[str, Any]) -> str | None:
    """Say which setting stands against dealing out the base, None if none does."""
    if training["lora"] is None:
        return "all weights are trained (training.lora is null)"
    if training["quantize"] != "nf4":
        return "it is not in NF4 (training.quantize)"
    return "adapters have dropout (training.lora.dropout)" if training["lora"]["dropout"] else None
