"""LoRA layers as one autograd node each: y = x Wᵀ + s (x Aᵀ) Bᵀ, with W frozen.

PEFT's own forward builds six to eight nodes a layer and keeps what each of them needs; here the backward pass is
written out, keeps x and x Aᵀ, and adds into buffers in place. Layers that read the same input (query, key and value;
gate and up) are computed together, as their weights stacked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anytune.local.int8 import Int8Linear

if TYPE_CHECKING:
    from anytune.local.training.shards import Shards


class StackedLora(torch.autograd.Function):
    """Compute several LoRA layers of one input; the weights of layer i are rows `rows[i]` of the stack."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: LayerGroup, down: Tensor, *ups: Tensor) -> tuple[Tensor, ...]:
        """Return each layer's output; `down` is the stack of all A (k·r, in), `ups` each B (out_i, r)."""
        flat = x.reshape(-1, x.shape[-1]).to(down.dtype)
        low = flat @ down.T
        full = torch.mm(flat, group.weight().T)
        for i, up in enumerate(ups):
            full[:, group.rows[i]].addmm_(low[:, group.ranks[i]], up.T, alpha=group.scales[i])
        full, outputs = full.to(x.dtype), []
        for rows, bias in zip(group.rows, group.biases, strict=True):
            part = full[:, rows]
            outputs.append((part if bias is None else part.add_(bias)).view(*x.shape[:-1], -1))
        ctx.group = group
        ctx.save_for_backward(flat, low, down, *ups)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of x, A and each B; W is frozen and has none."""
        flat, low, down, *ups = ctx.saved_tensors
        group: LayerGroup = ctx.group
        weight = group.weight()
        dlow, dx, dups = torch.empty_like(low), None, []
        for i, (gradient, up) in enumerate(zip(gradients, ups, strict=True)):
            g = gradient.reshape(-1, gradient.shape[-1]).to(down.dtype)
            torch.mm(g, up, out=dlow[:, group.ranks[i]])
            dups.append((g.T @ low[:, group.ranks[i]]).mul_(group.scales[i]))
            dlow[:, group.ranks[i]].mul_(group.scales[i])
            if ctx.needs_input_grad[0]:
                rows = weight[group.rows[i]]
                dx = g @ rows if dx is None else dx.addmm_(g, rows)
        if dx is not None:
            dx = dx.addmm_(dlow, down).to(gradients[0].dtype).view(*gradients[0].shape[:-1], -1)
        return dx, None, dlow.T @ flat, *dups


class LayerGroup:
    """Hold PEFT LoRA layers that read one input, and compute them all when the first is called."""

    def __init__(self, layers: list[Any], weights: Callable[[], list[Tensor]], *, products: torch.dtype | None) -> None:
        self.layers = layers
        self.scales = [layer.scaling["default"] for layer in layers]
        self.biases = [layer.get_base_layer().bias for layer in layers]
        self.rows = slices([layer.get_base_layer().out_features for layer in layers])
        self.ranks = slices([layer.r["default"] for layer in layers])
        self._input: Tensor | None = None
        self._outputs: list[Tensor | None] = []
        self._weights = weights
        self._products = products
        self._stack: Tensor | None = None

    def stack(self) -> None:
        """Join the frozen weights into one matrix, of which each layer keeps its rows."""
        self._stack = torch.cat(self._weights())
        if self._products is not None:
            self._stack = self._stack.to(self._products)
        for layer, rows in zip(self.layers, self.rows, strict=True):
            layer.get_base_layer().weight.data = self._stack[rows]

    def weight(self) -> Tensor:
        """Return the frozen weights, all rows."""
        if self._stack is not None:
            return self._stack
        weights = self._weights()
        joined = weights[0] if len(weights) == 1 else torch.cat(weights)
        return joined if self._products is None else joined.to(self._products)

    def forward(self, at: int, x: Tensor) -> Tensor:
        """Return the output of layer `at`; the others' outputs wait for their layers to be called with this x."""
        if self._input is not x:
            dtype = self._products or x.dtype
            downs = [layer.lora_A["default"].weight.to(dtype) for layer in self.layers]
            ups = [layer.lora_B["default"].weight.to(dtype) for layer in self.layers]
            self._outputs = list(StackedLora.apply(x, self, torch.cat(downs) if len(downs) > 1 else downs[0], *ups))
            self._input = x
        output = self._outputs[at]
        self._outputs[at] = None
        if all(o is None for o in self._outputs):
            self._input = None
        if output is None:
            raise RuntimeError("a layer was called twice with the same input")
        return output


SHARED_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def fuse(net: nn.Module, *, products: torch.dtype | None = None, shards: Shards | None = None) -> int:
    """Give every PEFT LoRA layer the written-out node, and return how many groups there are.

    `products` is the dtype in which the matrices are multiplied (sums are float32 inside), that of the layers' input
    if None: bfloat16 products between float32 activations are QLoRA's own precision where it counts for speed. From
    `shards` comes the base of layers that hold only a part of it.
    """
    from peft.tuners.lora import LoraLayer

    groups = 0
    for parent in net.modules():
        children = {n: c for n, c in parent.named_children() if isinstance(c, LoraLayer) and is_linear(c)}
        for names in SHARED_INPUT:
            if all(name in children for name in names):
                join([children.pop(name) for name in names], products, shards)
                groups += 1
        for layer in children.values():
            join([layer], products, shards)
            groups += 1
    return groups


def is_linear(layer: Any) -> bool:
    """Tell whether the layer adapts a matrix product."""
    return isinstance(layer.get_base_layer(), nn.Linear)


def join(layers: list[Any], products: torch.dtype | None, shards: Shards | None) -> None:
    """Make one group of these layers."""
    bases = [layer.get_base_layer() for layer in layers]
    if shards is not None and all(hasattr(base.weight, "part") for base in bases):
        weights = shards.reader(bases)
    else:  # nothing is dealt out, or not this: an output head is never in NF4
        weights = reader(bases)
    group = LayerGroup(layers, weights, products=products)
    if not any(is_packed(base) for base in bases):
        group.stack()
    for at, layer in enumerate(layers):
        layer.forward = member(group, at)


def member(group: LayerGroup, at: int) -> Callable[[Tensor], Tensor]:
    """Return the forward function of one layer of a group."""
    return lambda x: group.forward(at, x)


def is_packed(base: Any) -> bool:
    """Tell whether the layer still holds NF4, or whole numbers."""
    return isinstance(base, Int8Linear) or getattr(base.weight, "quant_state", None) is not None


def reader(bases: list[Any]) -> Callable[[], list[Tensor]]:
    """Return a function that gives the layers' frozen weights, unpacked."""
    from anytune.local.loading import unpacked

    def weight(base: Any) -> Tensor:
        if isinstance(base, Int8Linear):
            return base.unpacked()
        return unpacked(base) if is_packed(base) else base.weight

    return lambda: [weight(base) for base in bases]


def slices(sizes: list[int]) -> list[slice]:
    """Return the consecutive slices of these sizes."""
    found, at = [], 0
    for size in sizes:
        found.append(slice(at, at + size))
        at += size
    return found
