"""Reward models that judge the answers of a job: an earlier run's, by its id, or a folder with one. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anytune.errors import RefusedError
from anytune.local import base_model
from anytune.local.memory.fit import WIDTH
from anytune.local.memory.shape import read_shape
from anytune.local.start import folder_of
from anytune.local.training.checkpoint import sha256
from anytune.schema.spec import TuneSpec

SILENT = "it is a reward model, which scores answers and gives none"
JUDGES = "let it judge: rewards: [{type: model, model: JOB}] of a job of method: rft"


def told(named: str, home: Path) -> dict[str, Any]:
    """Return where a reward model is, with the hashes of its weights; raise `RefusedError` where there is none."""
    folder = folder_of(named, home, what="rewards.model")
    origin = base_model.read(folder / "anytune.json")
    if origin is None or origin.get("says") != "score":
        raise RefusedError(f"rewards.model: {named} is no reward model", fix="train one: method: reward")
    weights = sorted(folder.glob("*.safetensors"))
    return {"folder": str(folder), "sha256": {path.name: sha256(path) for path in weights}}


def held_bytes(spec: TuneSpec, home: Path) -> int:
    """Return the memory that a job's reward models take beside what is trained; 0 where none can be told."""
    return sum(_held(told(reward.model, home)["folder"]) for reward in spec.rewards if reward.model is not None)


def _held(folder: str) -> int:
    origin = base_model.read(Path(folder) / "anytune.json") or {}
    place = base_model.locate(str(origin.get("base"))) if origin.get("adapter") else Path(folder)
    shape = read_shape(place) if place is not None else None
    return shape.parameters * WIDTH[origin["dtype"]] if shape is not None else 0
