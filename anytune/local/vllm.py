"""What vLLM is started with to serve an adapter (vLLM's documentation, "LoRA Adapters", read 2026-11)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from anytune.errors import UsageError
from anytune.local.artifact import Origin
from anytune.local.runs import read_json

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM takes for --max-lora-rank


def write(folder: Path, origin: Origin) -> dict[str, Any]:
    """Write the script that serves the adapter beside it; raise `UsageError` for a rank that vLLM does not take."""
    rank = int((read_json(folder / "adapter_config.json") or {})["r"])
    most = next((size for size in RANKS if size >= rank), None)
    if most is None:
        raise UsageError(f"vLLM takes adapters of rank {RANKS[-1]} at most, not {rank}", fix="export it as merged")
    name = origin.suffix or origin.job_id
    command = ["vllm", "serve", origin.base, "--enable-lora", "--max-lora-rank", str(most)]
    script = f'{shlex.join(command)} --lora-modules {shlex.quote(name)}="$(dirname "$0")"\n'
    (folder / "serve.sh").write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    (folder / "serve.sh").chmod(0o755)
    return {"command": "sh serve.sh", "model": name}
