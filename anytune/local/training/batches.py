"""Which examples make which optimiser step: the same for the same seed, whatever happened in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytune.local.encode import Encoded, ItemT

POOL = 32  # steps whose examples are sorted by length together: like lengths meet, and order stays random enough
ROUND = 8  # lengths are rounded up to a multiple: each new shape costs the matrix library a compiled kernel


@dataclass(frozen=True)
class MicroBatch:
    """Be what one forward pass reads.

    `ids` has shape (examples, length). Shorter rows are filled up at their end, which needs no attention mask: a
    causal model's tokens never see later ones, and no filler is supervised. `predicts` (same shape) marks the
    positions whose next token is trained, `targets` are those tokens in order. `tokens` counts without filler. `items`
    are the chats or pairs that the rows are of, in their order.
    """

    ids: Tensor
    predicts: Tensor
    targets: Tensor
    tokens: int
    items: Sequence[Any] = ()


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
    examples: Sequence[ItemT], *, most_tokens: int, most_examples: int | None, filler: int
) -> list[MicroBatch]:
    """Cut the examples of one step, longest last, into batches of at most so many tokens (and examples).

    The rows of one example stay together, however long they are.
    """
    groups: list[list[ItemT]] = []
    for example in sorted(examples, key=len):
        rows = (len(groups[-1]) + 1) * len(example.rows) if groups else 0
        if not groups or rows * rounded(len(example)) > most_tokens or len(groups[-1]) == most_examples:
            groups.append([])
        groups[-1].append(example)
    return [collate([row for item in group for row in item.rows], filler, items=group) for group in groups]


def rounded(length: int) -> int:
    """Return the length that a row of so many tokens takes."""
    return -(-length // ROUND) * ROUND


def collate(examples: Sequence[Encoded], filler: int, *, items: Sequence[Any] = ()) -> MicroBatch:
    """Lay the sequences of these items side by side."""
    length = rounded(max(map(len, examples)))
    ids = torch.full((len(examples), length), filler)
    trained = torch.zeros(len(examples), length, dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example)] = torch.tensor(example.ids)
        trained[row, : len(example)] = torch.tensor(example.trained)
    predicts = torch.zeros_like(trained)
    predicts[:, :-1] = trained[:, 1:]
    return MicroBatch(ids, predicts, ids[:, 1:][trained[:, 1:]], sum(map(len, examples)), items)
