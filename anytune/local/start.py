"""Adapters that a job goes on from: an earlier run's, or a folder with PEFT's files from wherever. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anytune.errors import RefusedError
from anytune.local import base_model
from anytune.local.training.checkpoint import sha256
from anytune.schema.spec import TuneSpec
from anytune.schema.training import Lora, Training

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# What an adapter may be besides low-rank factors of plain layers, and with which value it is not.
PLAIN = {
    "peft_type": "LORA",
    "bias": "none",
    "use_dora": False,
    "lora_bias": False,
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "layers_to_transform": None,
    "target_parameters": None,
}


@dataclass(frozen=True)
class Start:
    """Be an adapter: its folder, the settings that it was made with, and the hash of its weights."""

    named: str
    folder: Path
    rank: int
    alpha: int
    target_modules: list[str]
    use_rslora: bool
    quantize: str | Literal[False] | None  # False: nobody says
    sha256: str

    @property
    def shape(self) -> dict[str, Any]:
        """Return what must be the same for its weights to fit."""
        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "target_modules": self.target_modules,
            "use_rslora": self.use_rslora,
        }

    def request(self) -> dict[str, Any]:
        """Return what a run is told."""
        return {"named": self.named, "folder": str(self.folder), "sha256": self.sha256}


def of(spec: TuneSpec, home: Path, *, model: str) -> Start | None:
    """Return the adapter that a job goes on from, None if it begins anew.

    Raises `RefusedError` for one that is not there, is of another base, or has other settings than the job asks for.
    """
    if spec.from_checkpoint is None:
        return None
    if spec.method == "reward":
        raise RefusedError(
            "a reward model begins anew: no adapter has its score layer", fix="leave from_checkpoint out"
        )
    folder = folder_of(spec.from_checkpoint, home)
    config = base_model.read(folder / CONFIG)
    if config is None or not (folder / WEIGHTS).is_file():
        whole = any(folder.glob("model*.safetensors"))
        raise RefusedError(
            f"from_checkpoint: {folder} holds no adapter ({CONFIG} and {WEIGHTS})",
            fix="it holds a whole model: name it as model" if whole else "name a local job's id, or a folder with both",
        )
    origin = base_model.read(folder / "anytune.json") or {}
    if reasons := [*_strange(config), *_other_base(config, origin, model), *_other_settings(config, spec.training)]:
        raise RefusedError(f"from_checkpoint: {spec.from_checkpoint}: {'; '.join(reasons)}")
    return Start(
        named=spec.from_checkpoint,
        folder=folder,
        rank=config["r"],
        alpha=config["lora_alpha"],
        target_modules=sorted(_modules(config)),
        use_rslora=bool(config.get("use_rslora")),
        quantize=origin.get("quantize", False),
        sha256=sha256(folder / WEIGHTS),
    )


def folder_of(named: str, home: Path, *, what: str = "from_checkpoint") -> Path:
    """Return the folder of a model that `what` names by its place or by its run."""
    if Path(named).is_absolute():
        if not Path(named).is_dir():
            raise RefusedError(f"{what}: no such folder: {named}", fix="mend the path")
        return Path(named)
    runs = [path for path in (home / "runs").glob("*") if path.name == named]
    runs = runs or [path for path in (home / "runs").glob("*") if path.name.startswith(named)]
    if len(runs) != 1:
        count = "no local job is" if not runs else f"{len(runs)} local jobs are"
        raise RefusedError(f"{what}: {count} called {named!r}", fix="anytune list names them")
    if not (runs[0] / "model").is_dir():
        raise RefusedError(f"{what}: {runs[0].name} has made no model so far", fix=f"anytune show {named}")
    return runs[0] / "model"


def _strange(config: dict[str, Any]) -> Iterator[str]:
    for key, plain in PLAIN.items():
        found = config.get(key, plain)
        if found != plain and (found or plain):
            yield f"its {key} is {found}, which anytune's trainer does not go on with"
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int) or config[key] < 1:
            yield f"its {CONFIG} has no whole {key}"
    if not _modules(config):
        yield f"its {CONFIG} does not name the layers that it changes (target_modules)"


def _modules(config: dict[str, Any]) -> list[str]:
    found = config.get("target_modules")
    return [str(name) for name in found] if isinstance(found, list) else []


def _other_base(config: dict[str, Any], origin: dict[str, Any], model: str) -> Iterator[str]:
    """Say where base and model are surely two: by their weights if we made it, else by their names at the hub."""
    known = origin.get("base_fingerprint")
    if known is not None and base_model.locate(model) is not None:
        if base_model.fingerprint(model) != known:
            yield f"its base is {origin.get('base')}, and {model} has other weights"
        return
    base = str(origin.get("base") or config.get("base_model_name_or_path") or "")
    if base_model.is_hub_id(base) and base_model.is_hub_id(model) and base.lower() != model.lower():
        yield f"its base is {base}, and the job's is {model}"


def _other_settings(config: dict[str, Any], training: Training) -> Iterator[str]:
    lora = training.lora
    if lora is None:
        yield "training.lora is null, and all weights cannot go on from an adapter"
    elif isinstance(lora, Lora):
        said = lora.model_fields_set
        if "rank" in said and lora.rank != config.get("r"):
            yield f"its rank is {config.get('r')}, and training.lora.rank is {lora.rank}"
        if "alpha" in said and lora.alpha not in ("auto", config.get("lora_alpha")):
            yield f"its alpha is {config.get('lora_alpha')}, and training.lora.alpha is {lora.alpha}"
        if "use_rslora" in said and lora.use_rslora != (its := bool(config.get("use_rslora"))):
            yield f"its use_rslora is {its}, and training.lora.use_rslora is {lora.use_rslora}"
        named = "target_modules" in said and lora.target_modules != "all-linear"
        if named and set(lora.target_modules) != set(_modules(config)):
            yield f"it changes {', '.join(sorted(_modules(config)))}, and training.lora.target_modules are others"
