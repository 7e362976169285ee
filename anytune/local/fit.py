"""Whether a run fits this machine, and how long it takes: arithmetic on the model's configuration, no torch.

Memory is the closed form: weights (NF4 with double quantisation: 0.5159 bytes each, measured) plus their unpacked
copy where that fits, adapters with their gradients and Adam's two moments in float32, activations, and the logits of
supervised tokens. Time is 4 floating-point operations a frozen weight and token (forward, and backward to the
activations; a trained weight takes 6) at a measured rate, plus a fixed cost a layer and forward pass, which is what
tiny models spend their time on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anytune.local.base_model import locate, text_config
from anytune.local.machine import Hardware, hardware
from anytune.schema.data import DataReport, Tokens
from anytune.schema.plan import ResourceEstimate
from anytune.schema.spec import Method

NF4_BYTES = 0.5159
PROCESS_BYTES = {"cpu": 500_000_000, "cuda": 550_000_000}  # libraries in memory; the GPU's context
RATES = {"cpu": 3.5e10, "cuda": 2.0e14}  # operations a second, of one core and of one GPU
LAYER_SECONDS = {"cpu": 1.0e-3, "cuda": 6.0e-4}  # forward and backward of one layer beyond its arithmetic
START_SECONDS = 9.0  # imports, quantising, writing the model
WATTS = {"cpu": 12.0, "cuda": 500.0}  # a busy core with its share of the machine; a busy data-centre GPU
PACK_TOKENS = 4096  # tokens of one forward pass at most, if memory allows


@dataclass(frozen=True)
class Shape:
    """Hold the sizes of a decoder: of Llama's, Qwen's, Mistral's and Gemma's kind."""

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
    def linear(self) -> int:
        """Count the weights of all layers' matrices, which are what is quantised."""
        return self.layers * (products(self.attention_sizes) + self.experts * products(self.mlp_sizes))

    @property
    def computed(self) -> int:
        """Count the matrix weights that one token passes through."""
        return self.layers * (products(self.attention_sizes) + self.active * products(self.mlp_sizes))

    @property
    def other(self) -> int:
        """Count embeddings, head and norms."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        """Count all weights."""
        return self.linear + self.other

    def adapter(self, rank: int) -> int:
        """Count the weights of adapters on all linear layers."""
        sizes = self.attention_sizes + self.experts * self.mlp_sizes
        return self.layers * rank * sum(a + b for a, b in sizes)

    def activation_bytes(self, width: int, *, recompute: bool) -> int:
        """Return what one token keeps between forward and backward, at `width` bytes a number."""
        per_layer = 9 * self.hidden + 4 * self.head_dim * (self.heads + self.kv_heads) + 5 * self.active * self.inner
        return width * (self.layers * self.hidden + per_layer if recompute else self.layers * per_layer)


def products(sizes: list[tuple[int, int]]) -> int:
    """Return the number of weights of matrices of these sizes."""
    return sum(a * b for a, b in sizes)


def read_shape(folder: Path) -> Shape | None:
    """Read the sizes from config.json, None if it names other things."""
    config = text_config(folder)
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
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Layout:
    """Be how a run uses the memory: decided before it starts, and kept when it goes on."""

    dtype: str
    unpack: bool
    micro_tokens: int
    recompute: bool
    bytes: int


def layout(shape: Shape, training: dict[str, Any], machine: Hardware, *, rows: int = 1) -> Layout:
    """Choose the quickest way that stays within four fifths of the free memory; an example has so many `rows`."""
    small = shape.parameters < 15_000_000
    dtype = "bfloat16" if machine.bfloat16 and not (small and machine.device == "cpu") else "float32"
    width, room = (2 if dtype == "bfloat16" else 4), 0.8 * machine.memory
    static = static_bytes(shape, training, width, unpack=False) + PROCESS_BYTES[machine.device]
    dense = shape.linear * width if training["quantize"] else 0
    unpack = static + 1.5 * dense < 0.6 * room
    static += dense if unpack else 0
    longest = rows * training["max_length"]
    head = shape.vocabulary * (width + 8)  # logits, their float32 copy and its gradient, if all were supervised
    for recompute in (False, True):
        per_token = shape.activation_bytes(width, recompute=recompute) + head
        tokens = int(max(0.0, room - static) / per_token)
        if tokens >= longest:
            break
    # Beyond a few thousand tokens a pass gains nothing; one example is the least there can be.
    tokens = max(longest, min(tokens, PACK_TOKENS if machine.device == "cpu" else 4 * PACK_TOKENS))
    return Layout(dtype, unpack, tokens, recompute, int(static + tokens * per_token))


def static_bytes(shape: Shape, training: dict[str, Any], width: int, *, unpack: bool) -> float:
    """Return the bytes of weights, gradients and optimiser state."""
    lora = training["lora"]
    if lora is None:
        return shape.parameters * (4 + 4 + 8.0)
    adapters = shape.adapter(lora["rank"]) * (4 + 4 + 8)
    if not training["quantize"]:
        return shape.parameters * width + adapters
    largest = max(a * b for a, b in shape.attention_sizes + shape.mlp_sizes)
    buffer = 0 if unpack else 2 * largest * width
    return shape.linear * NF4_BYTES + shape.other * width + adapters + buffer


def operations(shape: Shape, training: dict[str, Any], *, tokens: float, length: float, recompute: bool) -> float:
    """Return the floating-point operations of training on so many tokens in chats of this mean length."""
    lora = training["lora"]
    per_weight = 6 if lora is None else 4
    per_token: float = per_weight * shape.computed + 6 * (shape.adapter(lora["rank"]) if lora else 0)
    per_token += 6 * shape.layers * shape.heads * shape.head_dim * length  # attention, causal
    per_token += 4 * shape.vocabulary * shape.hidden / 2  # the head sees supervised tokens only: about half
    return tokens * per_token * (1.5 if recompute else 1.0)


def of_pairs(training: dict[str, Any], method: Method) -> str:
    """Say what else is computed of pairs."""
    return f"; pairs, and the base asked once about each; beta {training['beta']:g}" if method == "dpo" else ""


def computed(tokens: Tokens, method: Method) -> float:
    """Return the tokens that an epoch computes: what is asked stands once in a pair's count, and in both its rows."""
    if method != "dpo":
        return tokens.expected
    return tokens.expected + (tokens.expected / 2 if tokens.masked is None else tokens.masked)


def reference_share(training: dict[str, Any], method: Method) -> float:
    """Return what asking the base about all pairs costs, which needs no backward pass, as a share of an epoch."""
    return 0 if method != "dpo" else 1 / 3 if training["lora"] is None else 1 / 2


def estimate(
    model: str, training: dict[str, Any], data: DataReport, *, method: Method = "sft"
) -> ResourceEstimate | None:
    """Estimate time, memory and energy on this machine, None if the configuration is not at hand."""
    folder, report = locate(model), data.role("train")
    shape = read_shape(folder) if folder else None
    if shape is None or report is None or report.tokens is None:
        return None
    machine = hardware()
    rows = 2 if method == "dpo" else 1
    plan = layout(shape, training, machine, rows=rows)
    cores = machine.threads(shape.parameters)
    examples = max(1, report.examples)
    mean = max(1.0, computed(report.tokens, method) / examples)
    batch = min(training["batch_size"], examples)
    steps = training["epochs"] * math.ceil(examples / batch)
    length = min(mean / rows, training["max_length"])
    epochs = training["epochs"] + reference_share(training, method)
    passes = epochs * math.ceil(examples / batch) * math.ceil(batch * mean / plan.micro_tokens)
    work = operations(
        shape, training, tokens=epochs * examples * rows * length, length=length, recompute=plan.recompute
    )
    rate = RATES[machine.device] * (cores**0.85 if machine.device == "cpu" else 1)
    busy = work / rate + passes * shape.layers * LAYER_SECONDS[machine.device]
    seconds = START_SECONDS + busy
    watts = WATTS[machine.device] * (cores if machine.device == "cpu" else 1)
    used = math.ceil(batch * mean) if batch * mean < plan.micro_tokens else plan.micro_tokens
    width = 2 if plan.dtype == "bfloat16" else 4
    per_token = shape.activation_bytes(width, recompute=plan.recompute) + shape.vocabulary * (width + 8) // 2
    memory = plan.bytes - (plan.micro_tokens - used) * per_token
    return ResourceEstimate(
        seconds_low=START_SECONDS / 2 + busy / 2.5,
        seconds_expected=seconds,
        seconds_high=2 * START_SECONDS + busy * 2.5,
        memory_low=int(memory * 0.8),
        memory_expected=memory,
        memory_high=max(plan.bytes, int(memory * 1.3)),
        memory_available=machine.memory,
        watt_hours=round(watts * seconds / 3600, 4),
        device=machine.label(cores),
        basis=(
            f"{shape.parameters / 1e6:.1f}M parameters, {work / 1e12:.2f} TFLOP at {rate / 1e9:.0f} GFLOP/s, "
            f"{steps} steps in {plan.dtype}; {watts:.0f} W assumed{of_pairs(training, method)}"
        ),
    )
