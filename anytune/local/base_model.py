"""Base models as folders: where one lies, and what stands against training it. No torch, no network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def locate(model: str) -> Path | None:
    """Return the folder of a model: the one named, or the newest copy of a hub id in the cache; else None."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if not is_hub_id(model):
        return None
    snapshots = hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots"
    whole = [path.parent for path in snapshots.glob("*/config.json")]
    return max(whole, key=lambda path: path.stat().st_mtime, default=None)


def is_hub_id(model: str) -> bool:
    """Tell whether this reads as `owner/name` rather than as a path."""
    return HUB_ID.fullmatch(model) is not None


def hub_cache() -> Path:
    """Return the folder of the Hugging Face cache, as huggingface_hub finds it."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"])
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


def problems(folder: Path) -> Iterator[str]:
    """Yield every reason for which this folder cannot be trained from."""
    config = read(folder / "config.json")
    if config is None:
        yield f"{folder} has no readable config.json: it is not a model folder"
        return
    tokenizer = read(folder / "tokenizer_config.json") or {}
    if "auto_map" in config or "auto_map" in tokenizer:
        yield "the model brings its own program code (auto_map); anytune runs no code from model folders"
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method is not None:
        yield f"the weights are already quantised ({method}); name the unquantised model"
    if (folder / "adapter_config.json").is_file():
        yield "an adapter lies in it (adapter_config.json), which would be taken up unasked: name the base model"
    yield from weight_problems(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        yield "no tokenizer (tokenizer.json)"
    files = ("chat_template.jinja", "chat_template.json")
    if not tokenizer.get("chat_template") and not any((folder / name).is_file() for name in files):
        yield "no chat template (chat_template.jinja): it is a text-completion model, take its chat variant"


def weight_problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the weight files: none, only pickles, or shards missing."""
    index = read(folder / "model.safetensors.index.json")
    if index is not None:
        shards = set(index.get("weight_map", {}).values())
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            yield f"{len(missing)} of {len(shards)} weight files are missing, first {missing[0]}"
    elif not any(folder.glob("*.safetensors")):
        pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        if pickles:
            yield f"no *.safetensors, only {pickles[0].name}: a pickle can run code when opened, so it is not"
        else:
            yield "no weights (*.safetensors)"


def read(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, None if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def text_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of the language model, which multi-modal models keep one level deeper."""
    config = read(folder / "config.json") or {}
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def fingerprint(model: str) -> str:
    """Return a digest that changes with the weights: names, sizes, and both ends of each weight file."""
    digest = hashlib.sha256()
    folder = locate(model) or Path(model)
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()
