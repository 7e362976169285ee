"""Attention in a row of several sequences that share their beginnings (`tree.py`), as exact as one by one.

Each node is computed by itself, causally, nodes of like length in one call. Then all that comes after a shared node
attends to it, in one dense call without a mask. What a token found in several places is put together by the sums of
their exponentials. The kernel's way back needs nothing of a call but its inputs and, of its queries, the result and
that sum: with those of the whole it gives each part's share of the gradients, so parts cost what a whole would.

The kernel is torch's own for CPUs (`_scaled_dot_product_flash_attention_for_cpu`), in float64, float32 and bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from anytune.local.runs import Run, read_json, write_json
from anytune.local.training.events import EventLog
from anytune.local.training.team import Team
from anytune.local.training.tree import Group, Layout, Tree, lay_out

NAME = "anytune"
# Settings of a configuration by which attention does more than see all that came before.
MORE = {
    "attn_logit_softcapping": "it caps its attention",
    "attention_chunk_size": "it attends in chunks",
    "alibi": "its attention falls off with distance",
}
NOISE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.01}


class TreeAttention(torch.autograd.Function):
    """Attend in one row; queries are (tokens, heads, width), keys and values may have fewer heads."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, tree: Tree, scale: float | None) -> Tensor:
        """Return what each token finds, of the shape of the queries; nothing for filler."""
        wide = torch.promote_types(q.dtype, torch.float32)
        out = torch.zeros_like(q, memory_format=torch.contiguous_format)
        sums = torch.full(q.shape[:2], torch.inf, dtype=wide)
        for group in tree.groups:
            found, exponents = kernel(*(taken(x, group) for x in (q, k, v)), 0.0, True, scale=scale)
            put(out, found.transpose(1, 2), group)
            put(sums, exponents.transpose(1, 2), group)
        for node in tree.shared:
            after, seen = slice(node.stop, node.end), slice(node.start, node.stop)
            found, exponents = kernel(*(alone(x) for x in (q[after], k[seen], v[seen])), 0.0, False, scale=scale)
            found, exponents = found[0].transpose(0, 1), exponents[0].T
            both = torch.logaddexp(sums[after], exponents)
            out[after] = (
                out[after] * (sums[after] - both).exp()[..., None] + found * (exponents - both).exp()[..., None]
            )
            sums[after] = both
        ctx.tree, ctx.scale = tree, scale
        ctx.save_for_backward(q, k, v, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of queries, keys and values."""
        q, k, v, out, sums = ctx.saved_tensors
        gradient, tree, scale = gradients[0], ctx.tree, ctx.scale
        found = tuple(torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
        for group in tree.groups:
            parts = [taken(x, group) for x in (gradient, q, k, v, out)]
            slopes = kernel_back(*cleared(parts, group), shut(sums, group), 0.0, True, scale=scale)
            for whole, part in zip(found, slopes, strict=True):
                put(whole, part.transpose(1, 2), group)
        for node in tree.shared:
            after, seen = slice(node.stop, node.end), slice(node.start, node.stop)
            parts = [alone(x) for x in (gradient[after], q[after], k[seen], v[seen], out[after])]
            slopes = kernel_back(*parts, sums[after].T[None], 0.0, False, scale=scale)
            for whole, part, place in zip(found, slopes, (after, seen, seen), strict=True):
                whole[place] += part[0].transpose(0, 1)
        return *found, None, None


def kernel(*arguments: Any, scale: float | None) -> tuple[Tensor, Tensor]:
    """Return what queries find among keys, (rows, heads, tokens, width), and the logarithms of the sums."""
    found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*arguments, scale=scale)
    return found


def kernel_back(*arguments: Any, scale: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values."""
    back = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    found: tuple[Tensor, Tensor, Tensor] = back(*arguments, scale=scale)
    return found


def alone(x: Tensor) -> Tensor:
    """Return tokens as the kernel wants them: (1, heads, tokens, width)."""
    return x.transpose(0, 1)[None]


def taken(x: Tensor, group: Group) -> Tensor:
    """Return the tokens of a group, (nodes, heads, length, width)."""
    if group.take is None:
        return x[group.stretch].unflatten(0, (group.nodes, group.length)).transpose(1, 2)
    return x.index_select(0, group.take).view(group.nodes, group.length, *x.shape[1:]).transpose(1, 2)


def put(whole: Tensor, part: Tensor, group: Group) -> None:
    """Write a group's tokens, (nodes, length, …), to their places in the row, (tokens, …)."""
    if group.take is None:
        whole[group.stretch] = part.flatten(0, 1)
    else:
        whole.index_copy_(0, group.to, part.reshape(-1, *whole.shape[1:]).index_select(0, group.put))


def cleared(parts: list[Tensor], group: Group) -> list[Tensor]:
    """Return the parts with a gradient of nothing, which is the first of them, where there is filler."""
    if group.put is not None and len(group.put) < group.nodes * group.length:
        flat = parts[0].transpose(1, 2).flatten(0, 1)  # a view of what was copied for this group
        flat.index_fill_(0, blank(group), 0.0)
    return parts


def shut(sums: Tensor, group: Group) -> Tensor:
    """Return a group's sums, (nodes, heads, length): endless where there is filler, so that it weighs nothing."""
    if group.take is None:
        return sums[group.stretch].unflatten(0, (group.nodes, group.length)).transpose(1, 2)
    found = torch.full((group.nodes * group.length, sums.shape[1]), torch.inf, dtype=sums.dtype)
    found.index_copy_(0, group.put, sums.index_select(0, group.to))
    return found.view(group.nodes, group.length, -1).transpose(1, 2)


def blank(group: Group) -> Tensor:
    """Return the places of a group that are filler."""
    places = torch.ones(group.nodes * group.length, dtype=torch.bool)
    places[group.put] = False
    return places.nonzero()[:, 0]


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, None]:
    """Attend as transformers asks for it: by the tree that comes with the pass, or else as `sdpa` does."""
    tree = more.pop("tree", None)
    if tree is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **more)
        return found
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return TreeAttention.apply(q, k, v, tree, more.get("scaling"))[None], None


AttentionInterface.register(NAME, attend)


def chosen(run: Run, net: Any, *, longest: int, events: EventLog, team: Team) -> bool:
    """Tell whether this run attends by trees: as an earlier worker of it found, or found now, and said where not.

    The processes of a team find it together, and the one that leads writes it down.
    """
    path = run.path / "attention.json"
    known = team.told(lambda: read_json(path))
    if known is not None:
        if known["trees"]:
            net.config.get_text_config()._attn_implementation = NAME
        return bool(known["trees"])
    config = net.config.get_text_config()
    before = getattr(config, "_attn_implementation", None)
    why = next((said for said in team.all(arrange(net, longest=longest)) if said is not None), None)
    if why is not None:
        config._attn_implementation = before  # another process may have found it, and all attend alike
        events.tell(f"sequences lie side by side and share nothing: {why}", layout="side by side")
    if team.rank == 0:
        write_json(path, {"trees": why is None})
    return why is None


def arrange(net: Any, *, longest: int) -> str | None:
    """Have the model attend by trees; return why it cannot, where that would not be exact, and leave it as it was.

    No sequence is longer than `longest`. What the configuration does not tell, a small pass does: it is computed both
    ways.
    """
    if (why := hindrance(net, longest)) is not None:
        return why
    config = net.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    if differs(net):
        config._attn_implementation = before
        return "a trial pass came out differently"
    return None


@contextmanager
def padded(net: Any) -> Iterator[None]:
    """Let the model answer prompts of several lengths side by side: trees are for training, and know no masks."""
    config = net.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = "sdpa" if before == NAME else before
    try:
        yield
    finally:
        config._attn_implementation = before


def hindrance(net: Any, longest: int) -> str | None:
    """Return why a model cannot attend by trees, as far as its configuration tells."""
    config = net.config.get_text_config()
    if next(net.parameters()).device.type != "cpu":
        return "the kernel is one for CPUs"
    if not hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"):
        return "this torch has no such kernel"
    if config._attn_implementation != "sdpa":
        return f"it attends by {config._attn_implementation}"
    kinds = set(getattr(config, "layer_types", None) or ())
    if strange := kinds - {"full_attention", "sliding_attention"}:
        return f"it has {min(strange).replace('_', ' ')} layers"
    window = getattr(config, "sliding_window", None)
    if window is not None and window < longest:
        return f"its sliding window of {window} tokens is shorter than an example may be"
    return next((why for key, why in MORE.items() if getattr(config, key, None)), None)


@torch.no_grad()
def differs(net: Any) -> bool:
    """Tell whether sequences laid out as a tree come out otherwise than alone."""
    size = net.config.get_text_config().vocab_size
    shared = [n * 7919 % size for n in range(1, 25)]
    rows = [shared + [n * step % size for n in range(1, 4 + step)] for step in (3, 5, 11)]
    layout, training = lay_out(rows), net.training
    net.train()  # what is dropped out at random comes out differently, too
    try:
        with torch.random.fork_rng():
            found = net(**inputs(layout), use_cache=False).logits[0]
            for row, places in zip(rows, layout.places, strict=True):
                alone = net(input_ids=torch.tensor([row]), use_cache=False).logits[0]
                if not (found[places] - alone).norm() <= NOISE[alone.dtype] * alone.norm():
                    return True
    except (TypeError, RuntimeError, ValueError, IndexError):
        return True
    finally:
        net.train(training)
    return False


def inputs(layout: Layout) -> dict[str, Any]:
    """Return what the model is given for a layout."""
    tree = layout.tree()
    more = [0] * (tree.length - len(layout.ids))
    return {
        "input_ids": torch.tensor([layout.ids + more]),
        "position_ids": torch.tensor([layout.positions + more]),
        "tree": tree,
    }
