"""How long training takes, and at how many watts: arithmetic on a model's sizes, no torch.

A frozen weight costs 4 floating-point operations a token (forward, and backward to the activations), a trained one 6,
and half as much again where layers are computed twice; at a measured rate, or at the share of a GPU's peak that was
published for training; plus a fixed cost a layer and pass, which is what tiny models spend their time on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anytune.local.machine import Hardware
from anytune.local.memory import gpu
from anytune.local.memory.fit import NF4_BYTES, Way
from anytune.local.memory.shape import Shape
from anytune.schema.data import Tokens
from anytune.schema.training import Method

CORE_RATE = 3.5e10  # operations a second of one core (measured)
UNKNOWN_RATE = 2.0e14  # of a GPU that the catalogue does not have
USED = 0.35  # of a GPU's peak: published figures of QLoRA lie at 26 to 44 %
LAYER_SECONDS = {"cpu": 1.0e-3, "cuda": 6.0e-4}  # forward and backward of one layer beyond its arithmetic
LINK = {"cpu": 3e8, "cuda": 1.2e10}  # bytes a second: loopback (measured), a PCI bus (assumed; NVLink is quicker)
START_SECONDS = 9.0  # imports, quantising, writing the model
CORE_WATTS, UNKNOWN_WATTS = 12.0, 500.0  # a busy core with its share of the machine; a busy data-centre GPU


@dataclass(frozen=True)
class Pace:
    """Be how long a run takes: in seconds from low to high, the operations, and the rate and watts assumed."""

    low: float
    expected: float
    high: float
    operations: float
    rate: float
    watts: float


@dataclass(frozen=True)
class Amount:
    """Be how much is trained: examples of so many rows and (together) tokens on average, and the optimiser's batch."""

    examples: int
    rows: int
    mean: float
    batch: int


def pace(
    shape: Shape, training: Mapping[str, Any], way: Way, amount: Amount, machine: Hardware, *, epochs: float
) -> Pace:
    """Return how long so many epochs take."""
    cores = machine.threads(shape.parameters)
    length = min(amount.mean / amount.rows, training["max_length"])
    batches = math.ceil(amount.examples / amount.batch)
    at_once = math.ceil(amount.batch * amount.mean / way.micro_tokens / (machine.processes * machine.machines))
    # An answer is tried token by token, each a pass forward, a third of a whole one.
    passes = epochs * batches * at_once * (1 + training.get("max_new_tokens", 0) / 3)
    tokens = epochs * amount.examples * amount.rows * length
    work = operations(shape, training, tokens=tokens, length=length, recompute=way.recompute)
    rate, watts = speed(machine, cores)
    each = shape.layers * LAYER_SECONDS[machine.device] + gathering(shape, way, machine)
    busy = work / rate + passes * each
    return Pace(
        low=START_SECONDS / 2 + busy / 2.5,
        expected=START_SECONDS + busy,
        high=2 * START_SECONDS + busy * 2.5,
        operations=work,
        rate=rate,
        watts=watts,
    )


def speed(machine: Hardware, cores: int) -> tuple[float, float]:
    """Return operations a second and watts."""
    several = machine.processes
    if machine.device == "cpu":
        cores = min(machine.cores, cores * several)
        return CORE_RATE * cores**0.85 * machine.machines, CORE_WATTS * cores * machine.machines
    known = gpu.of_driver(machine.name)
    rate, watts = (UNKNOWN_RATE, UNKNOWN_WATTS) if known is None else (known.rate * USED, known.power)
    return rate * several * machine.machines, watts * several * machine.machines


def gathering(shape: Shape, way: Way, machine: Hardware) -> float:
    """Return the seconds in which a pass brings together a base that is dealt out, if nothing else is done then."""
    if way.shards == 1:
        return 0
    times = 3 if way.recompute else 2
    return times * shape.linear * NF4_BYTES * (1 - 1 / way.shards) / LINK[machine.device]


def operations(shape: Shape, training: Mapping[str, Any], *, tokens: float, length: float, recompute: bool) -> float:
    """Return the floating-point operations of training on so many tokens in chats of this mean length."""
    lora = training["lora"]
    per_weight = 6 if lora is None else 4
    per_token: float = per_weight * shape.computed + 6 * (shape.adapter(lora["rank"]) if lora else 0)
    per_token += 6 * shape.layers * shape.heads * shape.head_dim * length  # attention, causal
    per_token += 4 * shape.vocabulary * shape.hidden / 2  # the head sees supervised tokens only: about half
    return tokens * per_token * (1.5 if recompute else 1.0)


def computed(tokens: Tokens, method: Method, training: Mapping[str, Any], *, examples: int) -> float:
    """Return the tokens that an epoch computes.

    What is asked stands once in a pair's count, and in both its rows; a question stands before each answer that is
    tried, which is as long as it may be.
    """
    if method == "rft":
        answers: int = training["group_size"]
        return answers * (tokens.expected + examples * training["max_new_tokens"])
    if method == "sft":
        return tokens.expected
    return tokens.expected + (tokens.expected / 2 if tokens.masked is None else tokens.masked)


def reference_share(training: Mapping[str, Any], method: Method) -> float:
    """Return what asking the base costs, which needs no backward pass, as a share of an epoch.

    Of pairs it is asked once, of answers that are tried in each epoch.
    """
    if method == "rft":
        return training["epochs"] / 2
    return 0 if not asks_base(training, method) else 1 / 3 if training["lora"] is None else 1 / 2


def asks_base(training: Mapping[str, Any], method: Method) -> bool:
    """Tell whether the base is asked about each pair, as DPO does and its kin without a reference do not."""
    return method == "dpo" and not {"simpo_gamma", "orpo_lambda"} & training.keys()
