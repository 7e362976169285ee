"""Write a folder of an ordinary model, or an adapter, as one GGUF file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import (
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    TensorNameMap,
    get_tensor_name_map,
    quants,
)
from safetensors import safe_open

from anytune.errors import UsageError
from anytune.local.gguf import vocabulary
from anytune.local.gguf.family import Array, Config, describe, family, rope_factors

TYPES = {
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
_BLOCK = 32  # numbers that share a scale in Q8_0 and Q4_0


def model(folder: Path, out: Path, *, outtype: str, name: str, bos: int | None, stops: list[int]) -> str:
    """Write the model in `folder` as GGUF with matrices of this type; return how its tokenizer cuts words.

    Vectors stay float32, and a matrix whose rows are no whole blocks float16. Raises `UsageError` for a family or
    tokenizer that llama.cpp, or this writer, does not know.
    """
    config = text_config(folder)
    known, (kind, file_type) = family(config), TYPES[outtype]
    writer = _writer(out, known.arch.value)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type)
    describe(writer, config)
    known.keys(writer, config)
    cut = vocabulary.write(writer, folder, config["vocab_size"], bos=bos, stops=stops)
    names = get_tensor_name_map(known.arch, config["num_hidden_layers"])
    if (factors := rope_factors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    for theirs, weight in _weights(folder):
        _add(writer, _named(names, theirs), known.shape(theirs, weight, config), kind)
    _finish(writer)
    return cut


def adapter(config: Config, factors: list[tuple[str, Any, Any]], out: Path, *, alpha: float, name: str) -> None:
    """Write a LoRA adapter as GGUF: (layer's name, A, B) in float32, their product scaled by alpha / rank."""
    known = family(config)
    writer = _writer(out, known.arch.value)
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    names = get_tensor_name_map(known.arch, config["num_hidden_layers"])
    for layer, down, up in factors:
        theirs = f"{layer}.weight"
        there = _named(names, theirs)
        writer.add_tensor(f"{there}.lora_a", down.numpy().astype(np.float32))
        writer.add_tensor(f"{there}.lora_b", known.shape(theirs, up.numpy().astype(np.float32), config))
    _finish(writer)


def text_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of the language model in a folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {**config, **config.get("text_config", {})}


def _writer(out: Path, arch: int) -> GGUFWriter:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES

    return GGUFWriter(out, MODEL_ARCH_NAMES[MODEL_ARCH(arch)], use_temp_file=True)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(folder: Path) -> Iterator[tuple[str, Array]]:
    """Yield each weight by name in float32, one at a time."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 safetensors' own keys, no mapping
                yield name, file.get_tensor(name).to(torch.float32).numpy()


def _named(names: TensorNameMap, theirs: str) -> str:
    ours: str | None = names.get_name(theirs.removeprefix("model.language_"), try_suffixes=(".weight", ".bias"))
    if ours is None:
        raise UsageError(f"llama.cpp has no place for the weights {theirs}", fix="export it as merged")
    return ours


def _add(writer: GGUFWriter, name: str, weight: Array, kind: GGMLQuantizationType) -> None:
    if weight.ndim == 1:
        writer.add_tensor(name, weight.astype(np.float32))
        return
    whole = weight.shape[-1] % _BLOCK == 0
    chosen = kind if whole else GGMLQuantizationType.F16
    data = quants.quantize(weight, chosen)
    writer.add_tensor(name, data, raw_dtype=chosen)
