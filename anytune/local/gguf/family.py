"""The families of models that llama.cpp runs: what their GGUF says of them, and how their weights are laid there.

By the formats' own sources: llama.cpp's model loader and converter (ggml-org/llama.cpp, conversion/), read 2026-11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType

from anytune.errors import UsageError

Config = Mapping[str, Any]
Array = np.ndarray[Any, Any]
_EVERY = {MODEL_ARCH.GEMMA2: 2, MODEL_ARCH.GEMMA3: 6}  # the layer after so many attends to all, the others in windows
_NEAR_THETA = 10000.0
# The sizes of Gemma whose queries are scaled by the width of the model over its heads, by their number of layers.
_SCALED_BY_WIDTH = {(MODEL_ARCH.GEMMA2, 46), (MODEL_ARCH.GEMMA3, 62)}
_YARN = {
    "attention_factor": None,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": None,
    "mscale_all_dim": None,
    "truncate": True,
}
_QUERY_KEY = re.compile(r"self_attn\.([qk])_proj\.(weight|bias)$")


class Family(NamedTuple):
    """Be one of llama.cpp's architectures: its own keys, and what becomes of a weight of this name.

    `acts` are the activations that it computes, `has_windows` tells whether it attends within windows where a model
    does, and `has_bias` whether its attention may add biases.
    """

    arch: MODEL_ARCH
    shape: Callable[[str, Array, Config], Array]
    keys: Callable[[GGUFWriter, Config], None] = lambda *_: None
    acts: frozenset[str] = frozenset({"silu"})
    has_windows: bool = False
    has_bias: bool = True


def family(config: Config) -> Family:
    """Return the family of a model by its `model_type`; raise `UsageError` where llama.cpp would compute otherwise."""
    kind = str(config.get("model_type"))
    found = _FAMILIES.get(kind)
    if found is None:
        raise UsageError(
            f"a model of the type {kind} cannot be written as GGUF here; {', '.join(_FAMILIES)} can",
            fix="export it as merged, and convert it with llama.cpp's convert_hf_to_gguf.py",
        )
    if (other := next(_otherwise(found, config), None)) is not None:
        setting, value = other
        raise UsageError(
            f"its {setting} is {value}, and llama.cpp computes {kind} models otherwise", fix="export it as merged"
        )
    return found


def _otherwise(known: Family, config: Config) -> Iterator[tuple[str, Any]]:
    """Yield what llama.cpp has no key for, where it is not what llama.cpp takes it to be."""
    act = config.get("hidden_activation") or config.get("hidden_act") or "silu"
    if act not in known.acts:
        yield "activation", act
    if config.get("attention_bias") and not known.has_bias:
        yield "attention_bias", True
    scalar, wide = config.get("query_pre_attn_scalar"), config["hidden_size"] // config["num_attention_heads"]
    usual = wide if (known.arch, config["num_hidden_layers"]) in _SCALED_BY_WIDTH else head_size(config)
    if scalar is not None and scalar != usual:
        yield "query_pre_attn_scalar", scalar
    rope = _rope_parameters(config)
    for name, value in _YARN.items():
        if rope.get("rope_type") == "yarn" and rope.get(name, value) != value:
            yield name, rope[name]
    if known.has_windows and (kinds := config.get("layer_types")):
        every = _EVERY[known.arch]
        if [kind == "full_attention" for kind in kinds] != [number % every == 0 for number in range(1, len(kinds) + 1)]:
            yield "order of layers", "not one of whole attention after each " + str(every - 1)
    near = (config.get("rope_parameters") or {}).get("sliding_attention") or {}
    if near.get("rope_theta", _NEAR_THETA) != _NEAR_THETA:
        yield "rope_theta within windows", near["rope_theta"]


def context(config: Config) -> int:
    """Return how many tokens llama.cpp computes as the model does: its context, or the window that it leaves out."""
    length = int(config["max_position_embeddings"])
    window = config.get("sliding_window")
    if window is None or _FAMILIES[config["model_type"]].has_windows or config.get("use_sliding_window") is False:
        return length
    return min(length, int(window))


def head_size(config: Config) -> int:
    """Return how many numbers an attention head has."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def describe(writer: GGUFWriter, config: Config) -> None:
    """Write what all families have in common."""
    size, rope = head_size(config), _rope_parameters(config)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(context(config))
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


def _rope_parameters(config: Config) -> dict[str, Any]:
    """Return how positions are turned, in the layers of whole attention where the kinds of layers differ."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    return dict(rope["full_attention"]) if "full_attention" in rope else rope


def _rope(writer: GGUFWriter, config: Config, rope: Config) -> None:
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
    rope = _rope_parameters(config)
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
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def _phi3_keys(writer: GGUFWriter, config: Config) -> None:
    writer.add_sliding_window(config.get("sliding_window") or 0)
    original = config.get("original_max_position_embeddings") or config["max_position_embeddings"]
    writer.add_rope_scaling_orig_ctx_len(original)


# llama.cpp takes an approximation of GELU, which is what Gemma was trained with; the exact one differs by less than 16
# bits do.
_GELU = frozenset({"gelu_pytorch_tanh", "gelu"})
_FAMILIES: dict[str, Family] = {
    "llama": Family(MODEL_ARCH.LLAMA, _llama),
    "mistral": Family(MODEL_ARCH.LLAMA, _llama),
    "qwen2": Family(MODEL_ARCH.QWEN2, _as_it_is),
    "qwen3": Family(MODEL_ARCH.QWEN3, _as_it_is, has_bias=False),
    "gemma": Family(MODEL_ARCH.GEMMA, _gemma, acts=_GELU),
    "gemma2": Family(MODEL_ARCH.GEMMA2, _gemma, _gemma2_keys, acts=_GELU, has_windows=True),
    "gemma3_text": Family(MODEL_ARCH.GEMMA3, _gemma, _gemma3_keys, acts=_GELU, has_windows=True),
    "phi3": Family(MODEL_ARCH.PHI3, _as_it_is, _phi3_keys),
}
