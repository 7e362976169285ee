"""The sizes of a model, read from its config.json alone: how many weights it has, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune.local.base_model import text_config

# Keys of models whose layers are not attention with a gated product after it, all alike: recurrent states, compressed
# keys, encoders. What such a layer keeps cannot be told from sizes.
STRANGE = {
    "kv_lora_rank": "compressed keys",
    "mamba_d_state": "recurrent layers",
    "ssm_cfg": "recurrent layers",
    "state_size": "recurrent layers",
    "linear_num_value_heads": "linear attention",
    "is_encoder_decoder": "an encoder",
    "rwkv_version": "recurrent layers",
    "conv_L_cache": "convolutions",
}
FUSED = {"phi3"}  # families that keep query, key and value, and gate and up, in one matrix each


@dataclass(frozen=True)
class Shape:
    """Hold the sizes of a decoder: of Llama's, Qwen's, Mistral's and Gemma's kind.

    Where sizes say nothing, `counted` has its weights, of all matrices and of all else.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    experts: int = 1
    active: int = 1
    family: str = "llama"
    counted: tuple[int, int] | None = None

    @property
    def attention_sizes(self) -> list[tuple[int, int]]:
        """Return (in, out) of query, key, value and output projection."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return [(self.hidden, query), (self.hidden, key), (self.hidden, key), (query, self.hidden)]

    @property
    def mlp_sizes(self) -> list[tuple[int, int]]:
        """Return (in, out) of gate, up and down."""
        return [(self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)]

    @property
    def joined(self) -> list[list[tuple[int, int]]]:
        """Return the matrices of a layer, those together that read the same input."""
        query, key, value, output = self.attention_sizes
        gate, up, down = self.mlp_sizes
        return [[query, key, value], [output], [gate, up], [down]]

    @property
    def adapted(self) -> list[tuple[int, int]]:
        """Return (in, out) of each matrix of a layer that an adapter is put on; some models have several in one."""
        if self.family in FUSED:
            return [(group[0][0], sum(out for _, out in group)) for group in self.joined]
        return self.attention_sizes + self.experts * self.mlp_sizes

    @property
    def linear(self) -> int:
        """Count the weights of all layers' matrices, which are what is quantised."""
        if self.counted is not None:
            return self.counted[0]
        return self.layers * (products(self.attention_sizes) + self.experts * products(self.mlp_sizes))

    @property
    def routed(self) -> int:
        """Count the weights of experts, which are no linear layers of their own and are not quantised."""
        return self.layers * self.experts * products(self.mlp_sizes) if self.experts > 1 else 0

    @property
    def computed(self) -> int:
        """Count the matrix weights that one token passes through."""
        if self.counted is not None:
            return self.counted[0]
        return self.layers * (products(self.attention_sizes) + self.active * products(self.mlp_sizes))

    @property
    def other(self) -> int:
        """Count embeddings, head and norms."""
        if self.counted is not None:
            return self.counted[1]
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        """Count all weights."""
        return self.linear + self.other

    def adapter(self, rank: int) -> int:
        """Count the weights of adapters on all linear layers."""
        return self.layers * rank * sum(a + b for a, b in self.adapted)


def products(sizes: list[tuple[int, int]]) -> int:
    """Return the number of weights of matrices of these sizes."""
    return sum(a * b for a, b in sizes)


def read_shape(folder: Path) -> Shape | None:
    """Read the sizes from config.json, None if it names other things."""
    config = text_config(folder)
    if strange(config):
        return None
    try:
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return Shape(
            hidden=hidden,
            inner=int(config.get("moe_intermediate_size") or config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", "gemma" in str(config.get("model_type")))),
            experts=int(config.get("num_experts") or config.get("num_local_experts") or 1),
            active=int(config.get("num_experts_per_tok") or 1),
            family=str(config.get("model_type") or "unknown"),
        )
    except (KeyError, TypeError, ValueError):
        return None


def strange(config: dict[str, Any]) -> str | None:
    """Say what in a configuration the arithmetic knows nothing of, None if there is no such thing."""
    for key, what in STRANGE.items():
        if config.get(key):
            return what
    kinds = config.get("layer_types")
    others = {str(kind) for kind in kinds} - {"full_attention", "sliding_attention"} if isinstance(kinds, list) else ()
    return f"{min(others).replace('_', ' ')} layers" if others else None
