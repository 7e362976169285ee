"""Several sequences laid out as one row in which what they begin with alike stands once.

A system prompt, the head of a few-shot prompt or what both answers of a pair reply to is one node of a tree; what
follows it, its children. The row has the nodes in the order of a walk, each after its parent and before its parent's
next child, so all that comes after a node's text is one stretch of the row. Beginnings are found by their token ids
alone. What is not worth sharing is not shared: then the row is the sequences one after the other, without filler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

WORTH = 16  # tokens that sharing must save: it takes one or two further calls in each layer (bench/layout.py)
LEVELS = 8  # nodes above one another
LIKE = 0.75  # nodes that are computed together are at least so long, as a share of the longest
ROUND = 16  # a row's length is a multiple: each new shape costs the matrix library a compiled kernel


@dataclass(frozen=True)
class Node:
    """Be tokens `start` to `stop` of the row; all from `stop` to `end` comes after them."""

    start: int
    stop: int
    end: int


@dataclass(frozen=True)
class Group:
    """Be nodes of like length that are computed together, of shape (nodes, length).

    `take` are the places of their tokens in the row, of shape (nodes · length,), with any place for what is filled up;
    `put` are the places among those that are no filler, `to` where in the row they are. All are None for nodes of one
    length that follow one another, which are the row's tokens from `start` on.
    """

    nodes: int
    length: int
    start: int = 0
    take: Tensor | None = None
    put: Tensor | None = None
    to: Tensor | None = None

    @property
    def stretch(self) -> slice:
        """Return where nodes that follow one another stand in the row."""
        return slice(self.start, self.start + self.nodes * self.length)


@dataclass(frozen=True)
class Tree:
    """Be which tokens of a row of `length` see which: each those before it in its node, and all nodes above."""

    length: int
    groups: tuple[Group, ...]
    shared: tuple[Node, ...]


@dataclass(frozen=True)
class Layout:
    """Be sequences as one row: its ids and positions, who sees whom, and where each token of each sequence stands."""

    ids: list[int]
    positions: list[int]
    nodes: list[Node]
    places: list[list[int]]

    def tree(self) -> Tree:
        """Return who sees whom."""
        own = sorted((node for node in self.nodes if node.stop > node.start), key=lambda n: n.start - n.stop)
        shared = tuple(node for node in self.nodes if node.end > node.stop > node.start)
        return Tree(rounded(len(self.ids)), tuple(map(group, alike(own))), shared)


def rounded(length: int) -> int:
    """Return the length that a row of so many tokens takes."""
    return -(-length // ROUND) * ROUND


def lay_out(rows: Sequence[list[int]]) -> Layout:
    """Lay sequences of token ids out as one row."""
    order = sorted(range(len(rows)), key=lambda r: rows[r])
    common = [0, *(alike_for(rows[a], rows[b]) for a, b in pairwise(order))]
    made = Layout([], [], [], [[] for _ in rows])

    def write(first: int, last: int, depth: int, stop: int) -> None:
        """Append tokens `depth` to `stop` of the sequences `first` to `last`, which are alike so far."""
        at, text = len(made.ids), rows[order[first]][depth:stop]
        made.ids.extend(text)
        made.positions.extend(range(depth, stop))
        for r in order[first:last]:
            made.places[r].extend(range(at, at + len(text)))

    def grow(first: int, last: int, depth: int, level: int) -> None:
        """Lay out the sequences `first` to `last`, of which `depth` tokens stand already."""
        at = len(made.nodes)
        if last - first == 1:
            start, whole = len(made.ids), len(rows[order[first]])
            write(first, last, depth, whole)
            made.nodes.append(Node(start, len(made.ids), len(made.ids)))
            return
        alike = min(common[first + 1 : last])
        sharing = level < LEVELS and (alike - depth) * (last - first - 1) >= WORTH
        start = len(made.ids)
        if sharing:
            write(first, last, depth, alike)
        stop = len(made.ids)
        parted = [first, *(i for i in range(first + 1, last) if common[i] == alike or level == LEVELS), last]
        for a, b in pairwise(parted):
            grow(a, b, alike if sharing else depth, level + sharing)
        if sharing:
            made.nodes.insert(at, Node(start, stop, len(made.ids)))

    if rows:
        grow(0, len(rows), 0, 0)
    return made


def alike_for(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens with which both begin."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def alike(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Yield nodes of like length together, the longest first."""
    found: list[Node] = []
    for node in nodes:
        if found and node.stop - node.start < LIKE * (found[0].stop - found[0].start):
            yield found
            found = []
        found.append(node)
    if found:
        yield found


def group(nodes: Sequence[Node]) -> Group:
    """Return the places of these nodes, the longest of which is the first."""
    length, start = nodes[0].stop - nodes[0].start, nodes[0].start
    if all(node.start == start + i * length and node.stop == node.start + length for i, node in enumerate(nodes)):
        return Group(len(nodes), length, start)
    sizes = torch.tensor([node.stop - node.start for node in nodes])[:, None]
    places = torch.tensor([node.start for node in nodes])[:, None] + torch.arange(length)
    real = torch.arange(length) < sizes
    return Group(
        len(nodes), length, take=places.where(real, 0).flatten(), put=real.flatten().nonzero()[:, 0], to=places[real]
    )
