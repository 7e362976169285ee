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

from anytune.local.memory.layers import Layer, layer_of
from anytune.local.memory.shape import Shape, products

NF4_BYTES = 0.5159  # a weight in NF4 with double quantisation (measured)
INT8_BYTES, SCALE_BYTES = 1, 4  # a weight of 8 bits; of each row, its scale
WIDTH = {"bfloat16": 2, "float16": 2, "float32": 4}
LOGITS_BYTES = 32 << 20  # float32 logits that are there at once: more gain nothing (measured)
LEAST_POSITIONS = 256  # but never of fewer tokens: the head's weights are read once for each such chunk
TRAINED_BYTES = 16  # a trained weight: float32, its gradient, Adam's two moments
# What no tensor holds (measured, bench/fit.py): the process with its libraries, or the GPU's context; and on a CPU what
# is left of opening the model, a byte a weight. Large models leave no more: their matrices are mapped by themselves.
PROCESS_BYTES = {"cpu": 4.7e8, "cuda": 5.5e8}
MOST_LEFT = 2.5e8
SLACK = 0.04  # of one pass, on a GPU
# glibc keeps what was freed in blocks below 32 MiB, in holes that the next ones do not fit: so much of what layers use.
HOLES = 0.7
# How far off it may be, down and up: where the slopes are those of the very model class, and where they are borrowed.
BOUNDS = {"exact": (0.93, 1.10), "known": (0.92, 1.12), "guess": (0.6, 1.6)}


@dataclass(frozen=True)
class Way:
    """Be how a run uses memory: decided before it starts, kept when it goes on, and changed only when memory runs out.

    `products` is the dtype of matrix products, `unpack` whether NF4 or int8 is written out as ordinary weights once,
    `micro_tokens` the tokens of one forward pass at most, `recompute` whether layers are computed again on the way
    back (gradient checkpointing). The frozen base is dealt out over so many processes as there are `shards`.
    """

    dtype: str
    products: str
    unpack: bool
    micro_tokens: int
    recompute: bool
    shards: int = 1


@dataclass(frozen=True)
class Pass:
    """Be what one forward and backward pass reads: tokens with filler, and how many of them are supervised."""

    tokens: int
    supervised: int


@dataclass(frozen=True)
class Need:
    """Hold bytes: of tensors that stay (`still`), the most that one pass adds (`step`), and what is lost beside them.

    `lost` are the holes that a CPU's allocator leaves, and what opening the model does.
    """

    still: float
    step: float
    lost: float = 0.0

    def peak(self, device: str) -> int:
        """Return the peak of the process, or of the GPU."""
        besides = self.lost if device == "cpu" else SLACK * self.step
        return int(PROCESS_BYTES[device] + self.still + self.step + besides)


def need(shape: Shape, training: Mapping[str, Any], way: Way, batch: Pass) -> Need:
    """Return what a run in this way needs for passes of this size."""
    phases = phases_of(shape, training, way, batch)
    lost = phases.kept_by_system - phases.step + left_by_opening(shape.parameters)
    return Need(still_bytes(shape, training, way), phases.step, lost)


def left_by_opening(parameters: int) -> float:
    """Return the bytes that a CPU's allocator has not given back when the model is open."""
    return min(float(parameters), MOST_LEFT)


def still_bytes(shape: Shape, training: Mapping[str, Any], way: Way) -> float:
    """Return the bytes of weights, gradients and optimiser state."""
    lora, beside = training["lora"], training.get("beside_bytes", 0)  # reward models
    if lora is None:
        return beside + shape.parameters * TRAINED_BYTES
    linear = linear_bytes(shape, training, way)
    whole = (shape.other + shape.routed) * WIDTH[way.dtype]
    return beside + linear + whole + shape.adapter(lora["rank"]) * TRAINED_BYTES


def linear_bytes(shape: Shape, training: Mapping[str, Any], way: Way) -> float:
    """Return the bytes of the frozen matrices."""
    count, kind = shape.linear - shape.routed, training["quantize"]
    if way.unpack or kind is None:
        return count * WIDTH[way.dtype if training["lora"]["dropout"] else way.products]
    if kind == "nf4":
        return count * NF4_BYTES / way.shards
    rows = shape.layers * sum(out for group in shape.joined for _, out in group)
    return count * INT8_BYTES + rows * SCALE_BYTES


def positions_at_once(vocabulary: int) -> int:
    """Return of how many supervised tokens the logits are there at once."""
    return max(LEAST_POSITIONS, LOGITS_BYTES // (4 * vocabulary))


@dataclass(frozen=True)
class Phases:
    """Hold the bytes of a pass: what the layers hold when the head is reached, then the head's, and a layer's way back.

    `small` is the share of the layers' bytes that lie in blocks which glibc does not give back.
    """

    held: float
    head: float
    back: float
    again: float
    small: float

    @property
    def step(self) -> float:
        """Return the most there is at once."""
        return self.held + max(self.head, self.again + self.back)

    @property
    def kept_by_system(self) -> float:
        """Return what the system has given by the end of a pass: holes, and nothing of one phase used by the next."""
        layers = self.held + self.again
        if not self.again:
            return layers * (1 + HOLES * self.small) + max(self.head, self.back)
        return max(self.step, (layers + self.back) * (1 + HOLES * self.small) + self.head * self.small)


def phases_of(shape: Shape, training: Mapping[str, Any], way: Way, batch: Pass) -> Phases:
    """Return the bytes of each phase of one pass."""
    layer = layer_of(shape.family, way.dtype, way.products)
    kept = layer_bytes(shape, training, way, layer) * batch.tokens + copies(shape, training, way)
    rotary = 2 * shape.head_dim * WIDTH[way.dtype] * batch.tokens
    head = head_bytes(shape, training, way, batch)
    back = layer.back(shape, again=way.recompute) * batch.tokens + unpacking(shape, training, way)
    if training["lora"] is None:  # the gradient of the largest matrix, before it is added to the others
        back = max(back, 4 * max(shape.vocabulary * shape.hidden, shape.hidden * shape.inner))
    small = layer.small(shape, tokens=batch.tokens, width=WIDTH[way.products])
    if way.recompute:
        held = rotary + shape.layers * shape.hidden * WIDTH[way.dtype] * batch.tokens
        return Phases(held, head + 4 * shape.hidden * batch.tokens, back, kept, small)  # the last norm, in float32
    return Phases(rotary + shape.layers * kept, head, back, 0.0, small)


def head_bytes(shape: Shape, training: Mapping[str, Any], way: Way, batch: Pass) -> float:
    """Return what the head needs: a chunk of logits in float32 and in its own dtype, all states and their slopes."""
    own = WIDTH[way.dtype]
    logits = (
        (4 + (own if own < 4 else 0)) * shape.vocabulary * min(batch.supervised, positions_at_once(shape.vocabulary))
    )
    whole = 4 * shape.vocabulary * shape.hidden if training["lora"] is None else 0
    return logits + whole + 2 * own * shape.hidden * batch.supervised


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
    """Return the bytes of the largest group of packed matrices as ordinary weights, while they are used."""
    if not training["quantize"] or way.unpack:
        return 0
    return max(map(products, shape.joined)) * WIDTH[way.products] + gathered(shape, way)


def gathered(shape: Shape, way: Way) -> float:
    """Return the bytes that are brought together of a base that is dealt out: of a group of layers, and of the next.

    Those of a layer stand once more in one piece while they are unpacked.
    """
    return 2.5 * NF4_BYTES * max(map(products, shape.joined)) if way.shards > 1 else 0


def elsewhere(linear: int, way: Way) -> float:
    """Return the bytes of so many weights in NF4 that other processes hold."""
    return NF4_BYTES * linear * (1 - 1 / way.shards)
