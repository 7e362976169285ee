"""Which way a run takes through the memory there is, and what it falls back to when that was too much.

From the quickest on: weights unpacked and nothing computed twice, in large passes; smaller passes; weights kept in
4 or 8 bits; layers computed again on the way back; and, where several processes train, the base dealt out over them.
None of these changes what is learnt, so a run takes them by itself. What would change it (a shorter length, NF4 that
was not asked for) is only named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from anytune.local.machine import Hardware
from anytune.local.memory import fit
from anytune.local.memory.fit import Pass, Way
from anytune.local.memory.layers import calibrated
from anytune.local.memory.shape import Shape

MOST_TOKENS = {"cpu": 4096, "cuda": 16384}  # more in one pass gains nothing
ROOM = {"cpu": 0.8, "cuda": 0.95}  # the share of the free memory that a run is planned for
SMALL = 15_000_000  # weights; smaller models compute in float32 on a CPU, which costs them nothing
BLIND_TOKENS = 2048  # in one pass of a model of which nothing is known
LENGTHS = (8192, 6144, 4096, 3072, 2048, 1536, 1024, 768, 512, 256)


ROWS = {"dpo": 2, "reward": 2}  # sequences of an example, which are computed together; else one


@dataclass(frozen=True)
class Work:
    """Be what is trained: the settings with all defaults, and how many sequences an example has.

    `shards` says over how many processes the frozen base may be dealt out, what is best first.
    """

    training: Mapping[str, Any]
    rows: int = 1
    shards: tuple[int, ...] = (1,)

    @property
    def longest(self) -> int:
        """Return the tokens of the longest example, which is the least that a pass holds."""
        return self.rows * int(self.training["max_length"])

    def changed(self, **settings: Any) -> Work:
        """Return it with other settings."""
        return replace(self, training={**self.training, **settings})


def ways(shape: Shape, work: Work, machine: Hardware) -> Iterator[Way]:
    """Yield the ways on this machine, the quickest first."""
    small = shape.parameters < SMALL and machine.device == "cpu"
    dtype = "bfloat16" if machine.bfloat16 and not small else "float32"
    if work.training["lora"] is None:
        dtype = "float32"  # whole weights are trained in float32
    products = "bfloat16" if machine.bfloat16 and work.training["lora"] is not None else dtype
    quantised = bool(work.training["quantize"])
    for shards in work.shards:
        for recompute in (False, True):
            for unpack in (True, False) if quantised and shards == 1 else (not quantised,):
                for tokens in halved(MOST_TOKENS[machine.device], work.longest):
                    yield Way(dtype, products, unpack, tokens, recompute, shards)


def blind(work: Work, machine: Hardware) -> Way:
    """Return the way for a model whose sizes say nothing: a careful one, and lower ones are found when it runs."""
    dtype = "bfloat16" if machine.bfloat16 and machine.device == "cuda" and work.training["lora"] else "float32"
    shards = work.shards[0]
    unpack = not (work.training["quantize"] and (machine.device == "cuda" or shards > 1))
    return Way(dtype, dtype, unpack, BLIND_TOKENS, recompute=False, shards=shards)


def halved(most: int, least: int) -> Iterator[int]:
    """Yield the sizes of passes from the largest to the least there can be."""
    while most > least:
        yield most
        most //= 2
    yield least


def fullest(shape: Shape, work: Work, way: Way, device: str) -> int:
    """Return the peak of passes that are full, every token supervised, at the upper bound."""
    peak = fit.need(shape, work.training, way, Pass(way.micro_tokens, way.micro_tokens)).peak(device)
    return int(peak * fit.BOUNDS["known" if calibrated(shape) else "guess"][1])


def chosen(shape: Shape, work: Work, machine: Hardware) -> Way:
    """Return the quickest way that surely fits; where none does, the one that needs least."""
    room = ROOM[machine.device] * machine.memory
    found = list(ways(shape, work, machine))
    fitting = (way for way in found if fullest(shape, work, way, machine.device) <= room)
    return next(fitting, None) or min(found, key=lambda way: fullest(shape, work, way, machine.device))


def fits(shape: Shape, work: Work, machine: Hardware) -> bool:
    """Tell whether there is a way that surely fits."""
    room = ROOM[machine.device] * machine.memory
    return fullest(shape, work, chosen(shape, work, machine), machine.device) <= room


def lower(way: Way, work: Work, *, tokens: int | None) -> Way | None:
    """Return the next way down from one that took too much, None if there is none; what is learnt stays the same.

    `tokens` are those of the pass in which it did, None for one that cannot be cut.
    """
    if tokens is not None:
        return replace(way, micro_tokens=min(way.micro_tokens, tokens) // 2)
    if (below := packed(way, work)) is not None:
        return below
    return dealt(way, work) if way.recompute else replace(way, recompute=True)


def divisible(way: Way, work: Work) -> int | None:
    """Return the tokens of a full pass, None if it holds a single example of the greatest length."""
    return way.micro_tokens if way.micro_tokens > work.longest else None


def packed(way: Way, work: Work) -> Way | None:
    """Return the way with weights kept in their few bits, None where they are or are not to be."""
    return replace(way, unpack=False) if way.unpack and work.training["quantize"] else None


def dealt(way: Way, work: Work) -> Way | None:
    """Return the way with the base in NF4 and dealt out, None where it is or may not be."""
    shards = work.shards[-1]
    return replace(way, unpack=False, shards=shards) if shards > way.shards else None


def step_words(before: Way, after: Way) -> str:
    """Say what a run does otherwise from now on."""
    if after.micro_tokens < before.micro_tokens:
        return f"{after.micro_tokens:,} tokens in a pass instead of {before.micro_tokens:,}"
    if after.shards > before.shards:
        return f"the base is dealt out over {after.shards} processes"
    return "the weights stay packed" if after.unpack < before.unpack else "layers are computed again on the way back"


def other_settings(shape: Shape, work: Work, machine: Hardware) -> list[dict[str, Any]]:
    """Return settings with which it would fit, the least change first: none that the user has to be asked less for."""
    found: list[dict[str, Any]] = []
    quantises = work.training["lora"] is not None and work.training["quantize"] != "nf4"
    if quantises and fits(shape, work.changed(quantize="nf4"), machine):
        found.append({"training.quantize": "nf4"})
    if (length := longest_fitting(shape, work, machine)) is not None:
        found.append({"training.max_length": length})
    if work.training["lora"] is None:
        adapters = {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"}
        small = work.changed(lora=adapters, quantize="nf4")
        settings = {"training.lora": {"rank": 16}, "training.quantize": "nf4"}
        if fits(shape, small, machine):
            found.append(settings)
        elif (length := longest_fitting(shape, small, machine)) is not None:
            found.append({**settings, "training.max_length": length})
    elif quantises and not found:
        small = work.changed(quantize="nf4")
        if (length := longest_fitting(shape, small, machine)) is not None:
            found.append({"training.quantize": "nf4", "training.max_length": length})
    return found


def longest_fitting(shape: Shape, work: Work, machine: Hardware) -> int | None:
    """Return the largest shorter length that fits, None if none does."""
    now = int(work.training["max_length"])
    return next((n for n in LENGTHS if n < now and fits(shape, work.changed(max_length=n), machine)), None)
