"""Which examples make which optimiser step, and how a step's examples are laid out for the model.

Steps are the same for the same seed, whatever happened in between. Sequences lie side by side, filled up to one
length, or as one row that has no filler and in which what they begin with alike stands once (`tree.py`): whichever is
fewer tokens to compute, as the measured costs of both have it. What is learnt is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytune.local.encode import Encoded, ItemT
from anytune.local.training.tree import Layout, Tree, alike_for, lay_out

POOL = 32  # steps whose examples are sorted by length together: like lengths meet, and order stays random enough
ROUND = 8  # lengths are rounded up to a multiple: each new shape costs the matrix library a compiled kernel
# What one row costs beside its tokens (measured on the smallest model, where it weighs most; bench/layout.py).
COPIES = 1.1  # its tokens are gathered by nodes for the attention, and put back
CALL = 8  # tokens: a further call of the attention kernel in each layer


@dataclass(frozen=True)
class MicroBatch:
    """Be what one forward pass reads.

    `ids` has shape (rows, length). Where sequences lie side by side, shorter ones are filled up at their end, which
    needs no attention mask: a causal model's tokens never see later ones, and no filler is supervised. Else the one row
    has them all, `positions` (1, length) says where in its sequence each token stands and `tree` who sees whom.

    `at` are the places in `ids`, counted through all rows, whose next token is trained, `targets` those tokens,
    sequence by sequence; `counts` says how many each sequence has. `tokens` counts those of all sequences, without
    filler. `items` are the chats or pairs that the sequences are of, in their order. One that is `idle` is computed for
    company alone, and counts for nothing.
    """

    ids: Tensor
    at: Tensor
    targets: Tensor
    counts: list[int]
    tokens: int
    items: Sequence[Any] = ()
    positions: Tensor | None = None
    tree: Tree | None = None
    idle: bool = False


Maker = Callable[[Sequence[ItemT]], MicroBatch]


def steps_of_epoch(lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the examples of each step; every step but one has exactly `batch_size` of them.

    A run's first step is the longest: memory that will not do is found out at once.
    """
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(lengths), generator=random).tolist()
    steps = []
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size], key=lambda i: lengths[i])
        steps += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    steps = [steps[i] for i in torch.randperm(len(steps), generator=random).tolist()]
    if epoch == 0 and steps:
        longest = max(range(len(steps)), key=lambda s: sum(lengths[i] for i in steps[s]))
        steps[0], steps[longest] = steps[longest], steps[0]
    return steps


def total_steps(examples: int, *, batch_size: int, epochs: int) -> int:
    """Return the number of optimiser steps of a whole run."""
    return epochs * math.ceil(examples / batch_size)


def micro_batches(
    examples: Sequence[ItemT], *, most_tokens: int, most_examples: int | None, trees: bool = False
) -> list[MicroBatch]:
    """Cut the examples of one step into batches of at most so many tokens (and examples), the longest first.

    The sequences of one example stay together, however long they are. With `trees` they may share their beginnings.
    """
    groups = list(side_by_side(examples, most_tokens, most_examples))
    cost = sum(sum(len(e.rows) for e in group) * rounded(max(map(len, group))) for group in groups)
    if trees:
        found = list(in_rows(examples, most_tokens, most_examples))
        if sum(price(layout) for _, layout in found) < cost:
            made = [written(group, layout) for group, layout in found]
            return sorted(made, key=lambda batch: -batch.ids.numel())
    return [collate(group) for group in reversed(groups)]


def side_by_side(examples: Sequence[ItemT], most_tokens: int, most_examples: int | None) -> Iterator[list[ItemT]]:
    """Yield the examples whose sequences lie side by side, shorter ones first."""
    group: list[ItemT] = []
    for example in sorted(examples, key=len):
        rows = (len(group) + 1) * len(example.rows)
        if group and (rows * rounded(len(example)) > most_tokens or len(group) == most_examples):
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def in_rows(
    examples: Sequence[ItemT], most_tokens: int, most_examples: int | None
) -> Iterator[tuple[list[ItemT], Layout]]:
    """Yield the examples whose sequences make one row, like beginnings together."""
    waiting = sorted(examples, key=lambda e: e.rows[0].ids)
    while waiting:
        taken = reach(waiting, most_tokens, most_examples)
        layout = lay_out([row.ids for e in waiting[:taken] for row in e.rows])
        while taken > 1 and len(layout.ids) > most_tokens:
            taken = min(taken - 1, max(1, taken * most_tokens // len(layout.ids)))
            layout = lay_out([row.ids for e in waiting[:taken] for row in e.rows])
        yield waiting[:taken], layout
        waiting = waiting[taken:]


def reach(examples: Sequence[ItemT], most_tokens: int, most_examples: int | None) -> int:
    """Return how many of the examples, in their order, fit at best if all that neighbours share is shared."""
    tokens, before = 0, examples[0].rows[0]
    for count, example in enumerate(examples):
        for row in example.rows:
            tokens += len(row) - (alike_for(before.ids, row.ids) if row is not before else 0)
            before = row
        if count and (tokens > most_tokens or count == most_examples):
            return count
    return len(examples)


def price(layout: Layout) -> float:
    """Return what a row costs to compute, in tokens of sequences that lie side by side."""
    tree = layout.tree()
    return COPIES * tree.length + CALL * (len(tree.shared) + len(tree.groups) - 1)


def rounded(length: int) -> int:
    """Return the length that a sequence of so many tokens takes beside others."""
    return -(-length // ROUND) * ROUND


def collate(items: Sequence[ItemT]) -> MicroBatch:
    """Lay the sequences of these items side by side."""
    rows = [row for item in items for row in item.rows]
    length = rounded(max(map(len, rows)))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row.ids)
    return supervised(items, ids, [range(at * length, at * length + len(row)) for at, row in enumerate(rows)])


def written(items: Sequence[ItemT], layout: Layout) -> MicroBatch:
    """Write the sequences of these items as the one row that was laid out for them."""
    tree = layout.tree()
    filler = [0] * (tree.length - len(layout.ids))
    ids, positions = (torch.tensor([row + filler]) for row in (layout.ids, layout.positions))
    return supervised(items, ids, layout.places, positions=positions, tree=tree)


def supervised(items: Sequence[ItemT], ids: Tensor, places: Sequence[Sequence[int]], **layout: Any) -> MicroBatch:
    """Find what is trained; `places` says for each token of each sequence where in `ids` it stands."""
    rows: list[Encoded] = [row for item in items for row in item.rows]
    marks = [[i for i in range(1, len(row)) if row.trained[i]] for row in rows]
    return MicroBatch(
        ids,
        torch.tensor([where[i - 1] for where, mark in zip(places, marks, strict=True) for i in mark]),
        torch.tensor([row.ids[i] for row, mark in zip(rows, marks, strict=True) for i in mark]),
        [len(mark) for mark in marks],
        sum(map(len, rows)),
        items,
        **layout,
    )
