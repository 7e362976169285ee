"""The families of models that llama.cpp runs: what their GGUF says of them, and how their weights are laid there.

By the formats' own sources: llama.cpp's model loader and converter (ggml-org/llama.cpp, conversion/), read 2026-11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType

from anytune.errors import UsageError

Config = Mapping[str, Any]
Array = np.ndarray[Any, Any]
_QUERY_KEY = re.compile(r"self_attn\.([qk])_proj\.(weight|bias)$")


class Family(NamedTuple):
    """Be one of llama.cpp's architectures: its own keys, and what becomes of a weight of this name."""

    arch: MODEL_ARCH
    shape: Callable[[str, Array, Config], Array]
    keys: Callable[[GGUFWriter, Config], None] = lambda *_: None


def family(config: Config) -> Family:
    """Return the family of a model by its `model_type`; raise `UsageError` where llama.cpp would compute otherwise."""
    kind = str(config.get("model_type"))
    found = _FAMILIES.get(kind)
    if found is None:
        raise UsageError(
            f"a model of the type {kind} cannot be written as GGUF here; {', '.join(_FAMILIES)} can",
            fix="export it as merged, and convert it with llama.cpp's convert_hf_to_gguf.py",
        )
    window, length = config.get("sliding_window"), config.get("max_position_embeddings") or 0
    if kind == "mistral" and window is not None and window < length:
        raise UsageError(
            f"it attends within {window} tokens only, which llama.cpp does not do for Mistral",
            fix="export it as merged",
        )
    return found


def head_size(config: Config) -> int:
    """Return how many numbers an attention head has."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def describe(writer: GGUFWriter, config: Config) -> None:
    """Write what all families have in common."""
    size, rope = head_size(config), dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(round(size * float(rope.get("partial_rotary_factor") or 1)))
    _rope(writer, config, rope)


def _rope(writer: GGUFWriter, config: Config, rope: dict[str, Any]) -> None:
    if "full_attention" in rope:  # one set of parameters for each kind of layer
        rope = dict(rope["full_attention"])
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif kind not in ("default", "llama3"):
        raise UsageError(
            f"its positions are scaled by {kind}, which is not written as GGUF here", fix="export it as merged"
        )


def rope_factors(config: Config) -> Array | None:
    """Return by how much Llama 3 slows each frequency down, float32 of half a head's size; None for other models.

    The formula is that of transformers' `_compute_llama3_parameters` and of Llama 3.1's own code.
    """
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if (rope.get("rope_type") or rope.get("type")) != "llama3":
        return None
    size, base = head_size(config), float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    waves = 2 * math.pi * base ** (np.arange(0, size, 2, dtype=np.float64) / size)
    original, factor = rope["original_max_position_embeddings"], float(rope["factor"])
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((original / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def _as_it_is(name: str, weight: Array, config: Config) -> Array:
    del name, config
    return weight


def interleaved(weight: Array, heads: int) -> Array:
    """Lay the rows of queries or keys as llama.cpp turns them: both halves of a head's pairs side by side."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _llama(name: str, weight: Array, config: Config) -> Array:
    found = _QUERY_KEY.search(name)
    if found is None:
        return weight
    heads = config["num_attention_heads"]
    return interleaved(weight, heads if found[1] == "q" else config.get("num_key_value_heads") or heads)


def _gemma(name: str, weight: Array, config: Config) -> Array:
    """Add the one that Gemma's norms add to their weights when they compute."""
    del config
    return weight + 1 if name.endswith("norm.weight") else weight


def _gemma2_keys(writer: GGUFWriter, config: Config) -> None:
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def _gemma3_keys(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config["sliding_window"])


def _phi3_keys(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config.get("sliding_window") or 0)
    original = config.get("original_max_position_embeddings") or config["max_position_embeddings"]
    writer.add_rope_scaling_orig_ctx_len(original)


_FAMILIES: dict[str, Family] = {
    "llama": Family(MODEL_ARCH.LLAMA, _llama),
    "mistral": Family(MODEL_ARCH.LLAMA, _llama),
    "qwen2": Family(MODEL_ARCH.QWEN2, _as_it_is),
    "qwen3": Family(MODEL_ARCH.QWEN3, _as_it_is),
    "gemma": Family(MODEL_ARCH.GEMMA, _gemma),
    "gemma2": Family(MODEL_ARCH.GEMMA2, _gemma, _gemma2_keys),
    "gemma3_text": Family(MODEL_ARCH.GEMMA3, _gemma, _gemma3_keys),
    "phi3": Family(MODEL_ARCH.PHI3, _as_it_is, _phi3_keys),
}
