"""A frozen base dealt out over the processes that train: each holds its part of the packed bytes of every 4-bit layer.

What a layer needs is brought together just before it is used, by torch's own collective, unpacked, and let go of right
after: on the way there, and again on the way back. The bytes are those of the whole model, so nothing that is computed
differs by a bit from what a process computes that holds all of it. Every process must ask for the same layers in the
same order, which is what `Team.rounds` is for; while one group of layers is computed, the next is on its way.

torch's `fully_shard` does not take these layers: it makes plain parameters of them, which have lost their scales
(bitsandbytes issue #1945); and it hangs its hooks on modules, where here it is autograd nodes that ask.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from bitsandbytes.functional import QuantState, dequantize_4bit
from torch import Tensor, nn
from transformers.integrations.bitsandbytes import Bnb4bitQuantize
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

from anytune.local.loading import linear_4bit

MEMORY = 6  # groups asked for before: so many tell where in a pass one is, layers computed twice or not
KIND = "bitsandbytes_4bit"  # what transformers calls the way of opening a model that is replaced here
MAP_FROM, TRIM_FROM = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)


@dataclass(frozen=True)
class Part:
    """Be one process's part of a layer's bytes; the whole has `packed` bytes of values, then those of their scales.

    `state` is what bitsandbytes knows of the layer besides, with no scales in it.
    """

    bytes: Tensor
    packed: int
    scales: int
    state: QuantState

    @classmethod
    def of(cls, weight: Any, *, rank: int, size: int) -> Part:
        """Cut a packed weight, of whatever shape, into as many parts of one length as there are processes."""
        state = weight.quant_state
        values, scales = weight.data.view(torch.uint8).flatten(), state.absmax.view(torch.uint8).flatten()
        length = -(-(len(values) + len(scales)) // size)
        whole = values.new_zeros(length * size)
        whole[: len(values)], whole[len(values) : len(values) + len(scales)] = values, scales
        held = QuantState(None, state.shape, state.code, state.blocksize, state.quant_type, state.dtype)
        held.offset, held.state2, held.nested = state.offset, state.state2, state.nested
        own = whole[rank * length : (rank + 1) * length].clone()
        return cls(own, len(values), len(scales), held)

    def unpacked(self, whole: Tensor) -> Tensor:
        """Return the layer's values, of shape (out, in), from the bytes of all parts."""
        state = self.state
        scales = whole[self.packed : self.packed + self.scales]
        full = QuantState(
            scales if state.nested else scales.view(torch.float32),
            *(state.shape, state.code, state.blocksize, state.quant_type, state.dtype),
            offset=state.offset,
            state2=state.state2,
        )
        return dequantize_4bit(whole[: self.packed].view(-1, 1), full).detach()


class Shards:
    """Bring together what is dealt out, one group of layers at a time, each fetched while the one before is used.

    The order is learnt as it comes: after the same few groups the same one follows, in every pass.
    """

    def __init__(self, *, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._groups: list[Tensor] = []
        self._parts: list[list[Part]] = []
        self._taken: set[int] = set()
        self._next: dict[tuple[int, ...], int] = {}
        self._last: deque[int] = deque(maxlen=MEMORY)
        self._coming: tuple[int, Tensor, Any] | None = None

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Have transformers keep, of each matrix that it quantises, this process's part alone, as it goes along."""
        shards = self

        class Quantize(Bnb4bitQuantize):
            def convert(self, *arguments: Any, **named: Any) -> dict[str, Tensor]:
                found = super().convert(*arguments, **named)
                return {name: shards.dealt(weight) for name, weight in found.items()}

        class Quantizer(Bnb4BitHfQuantizer):
            def get_quantize_ops(self) -> Any:
                return Quantize(self)

        known = AUTO_QUANTIZER_MAPPING[KIND]
        AUTO_QUANTIZER_MAPPING[KIND] = Quantizer
        try:
            with given_back():
                yield
        finally:
            AUTO_QUANTIZER_MAPPING[KIND] = known

    def dealt(self, weight: Any) -> nn.Parameter:
        """Return a packed weight as the parameter that holds this process's part of it."""
        part = Part.of(weight, rank=self.rank, size=self.size)
        weight.data, weight.quant_state = part.bytes, part.state
        weight.part = part
        return weight

    def join(self, bases: Sequence[Any]) -> int:
        """Keep the parts of these layers side by side, to be fetched at once; return the group's number."""
        parts = [base.weight.part for base in bases]
        held = torch.cat([part.bytes for part in parts])
        for base, part, own in zip(bases, parts, held.split([len(part.bytes) for part in parts]), strict=True):
            base.weight.data = own
            base.weight.part = Part(own, part.packed, part.scales, part.state)
        self._taken |= {id(base.weight) for base in bases}
        self._groups.append(held)
        self._parts.append([base.weight.part for base in bases])
        return len(self._groups) - 1

    def reader(self, bases: Sequence[Any]) -> Callable[[], list[Tensor]]:
        """Return a function that gives the values of these layers, which it makes one group."""
        group = self.join(bases)
        return lambda: self.weights(group)

    def cover(self, net: nn.Module) -> None:
        """Have the layers that are dealt out and in no group fetch what they need, too."""
        for _, module in linear_4bit(net):
            if id(module.weight) not in self._taken:
                module.forward = frozen(module, self, self.join([module]))

    def weights(self, group: int) -> list[Tensor]:
        """Return the values of each layer of a group; all processes have to ask for the same one."""
        whole = self._fetched(group)
        self._next[tuple(self._last)] = group
        self._last.append(group)
        if (following := self._next.get(tuple(self._last))) is not None:
            self._coming = (following, *self._fetching(following))
        found, at = [], 0
        for part in self._parts[group]:
            end = at + len(part.bytes)
            found.append(part.unpacked(whole[:, at:end].reshape(-1)))
            at = end
        return found

    def rest(self) -> None:
        """Wait for what is still on its way."""
        if self._coming is not None:
            self._coming[2].wait()
            self._coming = None

    def _fetched(self, group: int) -> Tensor:
        """Return a group's bytes, of shape (processes, bytes of a part)."""
        coming = self._coming
        self.rest()
        if coming is not None and coming[0] == group:
            return coming[1]
        whole, work = self._fetching(group)
        work.wait()
        return whole

    def _fetching(self, group: int) -> tuple[Tensor, Any]:
        own = self._groups[group]
        whole = own.new_empty(self.size, len(own))
        return whole, dist.all_gather_into_tensor(whole.view(-1), own, async_op=True)


@contextmanager
def given_back() -> Iterator[None]:
    """Have glibc give back what is freed at once, and afterwards keep what it keeps at most by itself.

    Whole matrices come and go here, and what stays of each is small: it would hold on to all that lies between.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(MAP_FROM, 1 << 18)
    try:
        yield
    finally:
        mallopt(MAP_FROM, 32 << 20)
        mallopt(TRIM_FROM, 64 << 20)


class Frozen(torch.autograd.Function):
    """Compute y = x Wᵀ + b of a layer that is dealt out and has no adapter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shards: Shards, group: int, bias: Tensor | None) -> Tensor:
        """Return y."""
        (weight,) = shards.weights(group)
        ctx.shards, ctx.group = shards, group
        return nn.functional.linear(x, weight.to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradient of x."""
        (weight,) = ctx.shards.weights(ctx.group)
        return gradients[0] @ weight.to(gradients[0].dtype), None, None, None


def frozen(module: Any, shards: Shards, group: int) -> Callable[[Tensor], Tensor]:
    """Return the forward function of a layer that has no adapter."""
    return lambda x: Frozen.apply(x, shards, group, module.bias)
