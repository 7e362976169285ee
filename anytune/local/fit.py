"""How much memory training takes: arithmetic on a model's sizes, no torch.

A run's peak is what stands still through it (weights, adapters with their gradients and Adam's two moments) and what
one micro-batch adds: what the layers keep for the backward pass, and the most that is needed beside that, by the head
or by a layer on the way back. What a layer keeps is linear in its sizes; the slopes (`layers.py`) come from the real
model classes, of which one step is taken without weights (`exact.py`). What no tensor holds comes on top: libraries
and the allocator's slack, as measured (bench/fit.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anytune.local.layers import Layer, layer_of
from anytune.local.shape import Shape, products

NF4_BYTES = 0.5159  # a weight in NF4 with double quantisation (measured)
WIDTH = {"bfloat16": 2, "float16": 2, "float32": 4}
HEAD_BYTES = 12  # a logit of a supervised token: float32, its log-probability, its gradient
TRAINED_BYTES = 16  # a trained weight: float32, its gradient, Adam's two moments
# What no tensor holds: the process with its libraries or the GPU's context; the share of the tensors that the
# allocator wastes. On a CPU freed blocks come back in sizes that do not fit the next ones.
PROCESS_BYTES = {"cpu": 5.0e8, "cuda": 5.5e8}
SLACK = {"cpu": 0.30, "cuda": 0.04}
# How far off it may be, down and up: where the slopes are those of the very model class, and where they are borrowed.
BOUNDS = {"exact": (0.93, 1.10), "known": (0.92, 1.12), "guess": (0.6, 1.6)}


@dataclass(frozen=True)
class Way:
    """Be how a run uses memory: decided before it starts, kept when it goes on, and changed only when memory runs out.

    `products` is the dtype of matrix products, `unpack` whether NF4 is written out as ordinary weights once,
    `micro_tokens` the tokens of one forward pass at most, `recompute` whether layers are computed again on the way
    back (gradient checkpointing).
    """

    dtype: str
    products: str
    unpack: bool
    micro_tokens: int
    recompute: bool


@dataclass(frozen=True)
class Pass:
    """Be what one forward and backward pass reads: tokens with filler, and how many of them are supervised."""

    tokens: int
    supervised: int


@dataclass(frozen=True)
class Need:
    """Hold the bytes of tensors: those that stay (`still`), and the most that one pass adds."""

    still: float
    step: float

    def peak(self, device: str) -> int:
        """Return the peak of the process, or of the GPU."""
        return int(PROCESS_BYTES[device] + self.still + self.step * (1 + SLACK[device]))


def need(shape: Shape, training: Mapping[str, Any], way: Way, batch: Pass) -> Need:
    """Return what a run in this way needs for passes of this size."""
    return Need(still_bytes(shape, training, way), step_bytes(shape, training, way, batch))


def still_bytes(shape: Shape, training: Mapping[str, Any], way: Way) -> float:
    """Return the bytes of weights, gradients and optimiser state."""
    lora = training["lora"]
    if lora is None:
        return shape.parameters * TRAINED_BYTES
    packed = training["quantize"] and not way.unpack
    linear = NF4_BYTES if packed else WIDTH[way.dtype if lora["dropout"] else way.products]
    return shape.linear * linear + shape.other * WIDTH[way.dtype] + shape.adapter(lora["rank"]) * TRAINED_BYTES


def step_bytes(shape: Shape, training: Mapping[str, Any], way: Way, batch: Pass) -> float:
    """Return the most that one pass adds to what stands still."""
    layer = layer_of(shape.family, way.dtype, way.products)
    kept = layer_bytes(shape, training, way, layer) * batch.tokens + copies(shape, training, way)
    rotary = 2 * shape.head_dim * WIDTH[way.dtype] * batch.tokens
    head = HEAD_BYTES * shape.vocabulary * batch.supervised
    back = layer.back(shape, again=way.recompute) * batch.tokens + unpacking(shape, training, way)
    if training["lora"] is None:  # the gradient of the largest matrix, before it is added to the others
        back = max(back, 4 * max(shape.vocabulary * shape.hidden, shape.hidden * shape.inner))
    if way.recompute:
        held = shape.layers * shape.hidden * WIDTH[way.dtype] * batch.tokens
        return rotary + held + max(head + 4 * shape.hidden * batch.tokens, kept + back)  # the last norm, in float32
    return rotary + shape.layers * kept + max(head, back)


def layer_bytes(shape: Shape, training: Mapping[str, Any], way: Way, layer: Layer) -> float:
    """Return what one layer keeps of one token for the backward pass."""
    lora = training["lora"]
    low = 0 if lora is None else lora["rank"] * len(shape.adapted) * WIDTH[way.products]
    return layer.kept(shape) + low


def copies(shape: Shape, training: Mapping[str, Any], way: Way) -> float:
    """Return the bytes of one layer's adapters in the dtype of the products, which the pass keeps."""
    lora = training["lora"]
    if lora is None or way.products == "float32":
        return 0
    return shape.adapter(lora["rank"]) / shape.layers * WIDTH[way.products]


def unpacking(shape: Shape, training: Mapping[str, Any], way: Way) -> float:
    """Return the bytes of the largest group of NF4 matrices as ordinary weights, while they are used."""
    if not training["quantize"] or way.unpack:
        return 0
    return max(map(products, shape.joined)) * WIDTH[way.products]
