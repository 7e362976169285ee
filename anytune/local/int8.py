"""Linear layers whose frozen weights stand in 8 bits: a whole number for each, and a scale for each row.

The format is that of LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339), and bitsandbytes makes it: a weight is its
number times the largest of its row over 127. What goes through a layer is not rounded, unlike there: the frozen weights
are ordinary ones that take fewer bytes, so what is learnt does not hang on whether they are written out once or at
each use.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

AT_ONCE = 1 << 20  # weights whose product is there in float32 at once


class Int8Linear(nn.Linear):
    """Hold a frozen matrix as whole numbers `weight` (out, in) and `scale` (out, 1); unpacked it is `computes`."""

    def __init__(self, size: tuple[int, int], bias: Any, dtype: torch.dtype) -> None:
        inside, outside = size
        super().__init__(inside, outside, bias=False, device="meta")
        self.weight = nn.Parameter(torch.empty(outside, inside, dtype=torch.int8, device="meta"), requires_grad=False)
        self.register_buffer("scale", torch.empty(outside, 1, device="meta"))
        self.bias = bias
        self.computes = dtype

    def unpacked(self) -> Tensor:
        """Return the weights as a matrix of shape (out, in)."""
        return unpacked(self.weight, self.scale, self.computes)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ, and the bias."""
        out: Tensor = Product.apply(x, self)
        return out if self.bias is None else out + self.bias


class Product(torch.autograd.Function):
    """Multiply with frozen weights that are unpacked on either way, and kept on none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Int8Linear) -> Tensor:
        """Return x Wᵀ."""
        ctx.layer = layer
        return x @ layer.unpacked().to(x.dtype).T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of x."""
        return gradient @ ctx.layer.unpacked().to(gradient.dtype), None


def unpacked(numbers: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers times the scale of their row, as float32 before they are `dtype`, a few rows at a time."""
    out = torch.empty(numbers.shape, dtype=dtype, device=numbers.device)
    step = max(1, AT_ONCE // numbers.shape[1])
    for start in range(0, numbers.shape[0], step):
        rows = slice(start, start + step)
        out[rows] = numbers[rows] * scale[rows]
    return out


def convert(net: nn.Module, *, unpack: bool, dtype: torch.dtype) -> None:
    """Take the 8-bit layers of bitsandbytes over, or, with `unpack`, write their values out as ordinary weights."""
    from bitsandbytes.nn import Linear8bitLt

    layers: list[tuple[str, Any]] = [(n, m) for n, m in net.named_modules() if isinstance(m, Linear8bitLt)]
    for name, layer in layers:
        numbers, scale = layer.weight.data, layer.weight.SCB.float().view(-1, 1) / 127
        size = layer.in_features, layer.out_features
        if unpack:
            put(net, name, dense(size, unpacked(numbers, scale, dtype), layer.bias))
            continue
        made = Int8Linear(size, layer.bias, dtype)
        made.weight = nn.Parameter(numbers, requires_grad=False)
        made.scale = scale
        put(net, name, made)


def emptied(net: Any, dtype: torch.dtype) -> None:
    """Put layers of this kind, with nothing in them, in the place of all linear ones but the head."""
    head = net.get_output_embeddings()
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not head:
            put(net, name, Int8Linear((layer.in_features, layer.out_features), layer.bias, dtype))


def dense(size: tuple[int, int], weight: Tensor, bias: Any) -> nn.Linear:
    """Return an ordinary layer, frozen."""
    inside, outside = size
    made = nn.Linear(inside, outside, bias=False, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.bias = bias
    return made


def put(net: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of another."""
    parent, _, leaf = name.rpartition(".")
    setattr(net.get_submodule(parent), leaf, layer)
