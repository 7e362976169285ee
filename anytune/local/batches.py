"""Which examples make which optimiser step: the same for the same seed, whatever happened in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anytune.local.encode import Encoded

POOL = 32  # steps whose examples are sorted by length together: like lengths meet, and order stays random enough
ROUND = 8  # lengths are rounded up to a multiple: each new shape costs the matrix library a compiled kernel


@dataclass(frozen=True)
class MicroBatch:
    """Be what one forward pass reads.

    `ids` has shape (examples, length). Shorter rows are filled up at their end, which needs no attention mask: a
    causal model's tokens never see later ones, and no filler is supervised. `predicts` (same shape) marks the
    positions whose next token is trained, `targets` are those tokens in order. `tokens` counts without filler.
    """

    ids: Tensor
    predicts: Tensor
    targets: Tensor
    tokens: int


def steps_of_epoch(lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the examples of each step; every step but one has exactly `batch_size` of them."""
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(lengths), generator=random).tolist()
    steps = []
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size], key=lambda i: lengths[i])
        steps += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    return [steps[i] for i in torch.randperm(len(steps), generator=random).tolist()]


def total_steps(examples: int, *, batch_size: int, epochs: int) -> int:
    """Return the number of optimiser steps of a whole run."""
    return epochs * math.ceil(examples / batch_size)


def micro_batches(
    examples: Sequence[Encoded], *, most_tokens: int, most_examples: int | None, filler: int
) -> list[MicroBatch]:
    """Cut the examples of one step, longest last, into batches of at most so many tokens (and examples)."""
    groups: list[list[Encoded]] = []
    for example in sorted(examples, key=len):
        full = not groups or (len(groups[-1]) + 1) * rounded(len(example)) > most_tokens
        if full or len(groups[-1]) == most_examples:
            groups.append([])
        groups[-1].append(example)
    return [collate(group, filler) for group in groups]


def rounded(length: int) -> int:
    """Return the length that a row of so many tokens takes."""
    return -(-length // ROUND) * ROUND


def collate(examples: Sequence[Encoded], filler: int) -> MicroBatch:
    """Lay the examples side by side."""
    length = rounded(max(map(len, examples)))
    ids = torch.full((len(examples), length), filler)
    trained = torch.zeros(len(examples), length, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(example.ids)
        trained[row, : len(example)] = torch.tensor(example.trained)
    predicts = torch.zeros_like(trained)
    predicts[:, :-1] = trained[:, 1:]
    return MicroBatch(ids, predicts, ids[:, 1:][trained[:, 1:]], sum(map(len, examples)))
