"""The tuned model's folder: PEFT's files (or a whole model's), the tokenizer, and `anytune.json` with its origin."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from anytune.errors import UsageError
from anytune.local.base_model import fingerprint
from anytune.local.judge import JUDGES, SILENT
from anytune.local.runs import read_json, sync_folder, write_json
from anytune.local.training.checkpoint import sha256, sync_file


@dataclass(frozen=True)
class Origin:
    """Say what a tuned model was made from; `adapter` False means whole weights.

    `from_checkpoint` is the adapter that training went on from, if it did: where it was, and the hash of its weights.
    `says` is `score` for a reward model, which gives a chat a number.
    """

    base: str
    base_fingerprint: str
    adapter: bool
    quantize: str | None
    dtype: str
    stop_ids: list[int]
    job_id: str
    suffix: str | None = None
    from_checkpoint: dict[str, str] | None = None
    says: str = "words"


def write_model(folder: Path, net: Any, tokenizer: Any, origin: Origin) -> str:
    """Write the folder aside, sync and rename it; return the SHA-256 of the trained weights."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    if origin.adapter:
        net.save_pretrained(aside, save_embedding_layers=False)
        (aside / "README.md").unlink(missing_ok=True)  # PEFT's empty form of a model card
    else:
        net.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    write_json(aside / "anytune.json", asdict(origin))
    for path in aside.iterdir():
        sync_file(path)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(aside, folder)
    sync_folder(folder.parent)
    return weights_hash(folder)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the adapter, or of all weight files' hashes in order."""
    adapter = folder / "adapter_model.safetensors"
    if adapter.is_file():
        return sha256(adapter)
    import hashlib

    hashes = "".join(sha256(path) for path in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256(hashes.encode()).hexdigest()


def read_origin(folder: Path) -> Origin:
    """Read where a tuned model comes from, and refuse one whose base has changed since."""
    stored = read_json(folder / "anytune.json")
    if stored is None:
        raise UsageError(f"{folder} is no model that anytune has tuned: it has no anytune.json")
    origin = Origin(**stored)
    if origin.adapter and fingerprint(origin.base) != origin.base_fingerprint:
        raise UsageError(
            f"the base model {origin.base} is not the one this adapter was trained on: its files have changed",
            fix="put the former files back, or train again",
        )
    return origin


def read_speaker(folder: Path) -> Origin:
    """Read where a model that answers comes from, and refuse one that gives scores."""
    origin = read_origin(folder)
    if origin.says != "words":
        raise UsageError(SILENT, fix=JUDGES)
    return origin


def file_hashes(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name not in leave_out}


def scale(config: Mapping[str, Any]) -> float:
    """Return what B·A is multiplied with, as PEFT's adapter_config.json has it: rsLoRA's goes by the rank's root."""
    rank = config["r"]
    return float(config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank))


def adapter_factors(folder: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield (name of the layer in the base, A, s·B) in float32 for each adapted layer: its update is s·B·A."""
    factor = scale(read_json(folder / "adapter_config.json") or {})
    weights = load_file(folder / "adapter_model.safetensors")
    for key, down in weights.items():
        if key.endswith(".lora_A.weight"):
            up = weights[key.replace(".lora_A.", ".lora_B.")]
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            yield name, down.float(), factor * up.float()
