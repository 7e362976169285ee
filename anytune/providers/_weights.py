"""Look at a model's folder before it is called one: are the weights there, whole, and of the kind that was asked for?

What is read are lengths and names; no weight is loaded, and nothing that could run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anytune.errors import RejectedError
from anytune.providers._archive import PICKLES, WEIGHTS, Unpacked

CONFIG = {"adapter": "adapter_config.json", "merged": "config.json"}
LONGEST_HEADER = 100 * 1000 * 1000  # bytes, as the safetensors format has it


def require_whole(folder: Path, unpacked: Unpacked, *, kind: str, provider: str) -> None:
    """Raise `RejectedError` unless `folder` holds whole safetensors and the configuration of this kind of model."""
    weights = [name for name in unpacked.files if name.endswith(WEIGHTS)]
    if not weights:
        raise _refused(provider, _none(unpacked.left_out))
    if not (folder / CONFIG[kind]).is_file():
        raise _refused(provider, f"it has no {CONFIG[kind]}")
    for name in weights:
        if not _is_whole(folder / name):
            raise _refused(provider, f"{name} is not a whole safetensors file")
    missing = sorted(_named(folder) - set(unpacked.files))
    if missing:
        raise _refused(provider, f"{missing[0]} is missing")


def _none(left_out: Sequence[str]) -> str:
    pickled = next((name for name in left_out if Path(name).suffix.lower() in PICKLES), None)
    if pickled is None:
        return "it holds no safetensors"
    return f"its weights come as a pickle ({pickled}), which can run code when it is loaded"


def _is_whole(path: Path) -> bool:
    """Tell whether the header is one and the file as long as it says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            return False
        header = _object(file.read(length))
    header.pop("__metadata__", None)
    ends = [entry.get("data_offsets") for entry in header.values() if isinstance(entry, dict)]
    good = [int(end[1]) for end in ends if isinstance(end, list) and len(end) == 2 and isinstance(end[1], int)]
    return bool(good) and len(good) == len(header) and 8 + length + max(good) == size


def _named(folder: Path) -> set[str]:
    """Return the files that the indexes of sharded weights name."""
    named = set[str]()
    for index in folder.glob(f"*{WEIGHTS}.index.json"):
        shards = _object(index.read_bytes()).get("weight_map")
        named |= {str(name) for name in shards.values()} if isinstance(shards, dict) else set()
    return named


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(provider: str, why: str) -> RejectedError:
    return RejectedError(f"{provider}: download: the model is not taken: {why}")
