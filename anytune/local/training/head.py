"""The output head, applied only where a token is supervised, and to so many positions at a time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from anytune.local.memory.fit import positions_at_once
from anytune.local.training.batches import MicroBatch


class HeadFilter:
    """Let the output head see only the hidden states that are supervised, of any architecture.

    Their logits, of shape (supervised, vocabulary), are never there at once: a chunk's are made, turned into the
    cross-entropy and its slopes, and forgotten. That is done here, outside the model, where its head is a linear layer
    with nothing after it but the scale and the cap that its configuration names; a position computed both ways proves
    it. Any other head makes all supervised logits. `last` is the batch that was computed last.
    """

    def __init__(self, net: Any) -> None:
        self.last: MicroBatch | None = None
        self.head = net.get_output_embeddings()
        self.bend = Bend(net.config.get_text_config())
        self._keep: Tensor | None = None
        self._hidden: Tensor | None = None
        self._plain: bool | None = None
        self.head.register_forward_pre_hook(self._filter)

    def _filter(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self._keep is None:
            return inputs
        self._hidden = inputs[0].flatten(0, -2).index_select(0, self._keep)
        return (self._hidden if self._plain is False else self._hidden[:1], *inputs[1:])

    def loss(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the summed cross-entropy of the supervised tokens."""
        return self._surprises(net, batch).sum()

    def log_probabilities(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the log-probability of each row's supervised tokens together, of shape (rows,)."""
        each = self.each_log_probability(net, batch)
        # Cut and summed row by row: adding into rows by index is not the same in every run on a GPU.
        return torch.stack([row.sum() for row in each.split(batch.counts)])

    def each_log_probability(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the log-probability of each supervised token, in the order of the batch's targets."""
        return -self._surprises(net, batch)

    def _surprises(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return -log p of each supervised token, at least in float32."""
        self.last = batch
        device = next(net.parameters()).device
        targets = batch.targets.to(device)
        if self._plain is None:
            self._plain = self._is_plain(net, device)
        logits, hidden = self._forward(net, batch, device)
        if not self._plain:
            wide = torch.promote_types(logits.dtype, torch.float32)
            return F.cross_entropy(logits.to(wide), targets, reduction="none")
        size = positions_at_once(len(self.head.weight))
        return Surprise.apply(hidden, self.head.weight, self.head.bias, targets, self.bend, size)

    def _forward(self, net: Any, batch: MicroBatch, device: Any) -> tuple[Tensor, Tensor]:
        """Return the logits that the model makes itself, and what the head was given."""
        self._keep = batch.at.to(device)
        more: dict[str, Any] = {}
        if batch.positions is not None:
            more = {"position_ids": batch.positions.to(device), "tree": batch.tree}
        try:
            logits = net(input_ids=batch.ids.to(device), use_cache=False, **more).logits
            return logits, self._hidden
        finally:
            self._keep = self._hidden = None

    def _is_plain(self, net: Any, device: Any) -> bool:
        """Tell whether the model's logits are those that are made here."""
        head = self.head
        if type(head) is not nn.Linear or head.weight.is_floating_point() is False:
            return False
        if isinstance(head.weight, FakeTensor):
            return True  # there is nothing in it that could be compared
        some = torch.arange(1, 9)[None] % len(head.weight)
        with torch.no_grad(), torch.random.fork_rng():
            told, hidden = self._forward(net, MicroBatch(some, some[0] * 0 + 7, some[0], [8], 8), device)
            ours = self.bend(F.linear(hidden[:1], head.weight, head.bias).float())[0]
        return bool((told - ours).norm() <= 0.02 * told.norm())


class Bend:
    """Do to logits what a model does after its head: logits · scale, and cap · tanh(logits / cap)."""

    def __init__(self, config: Any) -> None:
        divided = getattr(config, "logits_scaling", None)
        self.scale: float = getattr(config, "logit_scale", None) or (1 / divided if divided else 1.0)
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits bent, in place, and what the cap makes of their slopes: None where there is none."""
        if self.scale != 1.0:
            logits.mul_(self.scale)
        if self.cap is None:
            return logits, None
        logits.div_(self.cap).tanh_()
        return logits.mul(self.cap), logits.square_().neg_().add_(1)


class Surprise(torch.autograd.Function):
    """Compute -log p of the targets from hidden states, (positions, hidden), so many positions at a time.

    A frozen head's slopes by the hidden states are made on the way, since each position's loss hangs on its own state
    alone: the way back only scales them. For a head that is trained the logits are made a second time on the way back.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, bend: Bend, size: int
    ) -> Tensor:
        """Return it for each position."""
        ctx.learns = weight.requires_grad or (bias is not None and bias.requires_grad)
        at_once = ctx.needs_input_grad[0] and not ctx.learns
        wide = torch.promote_types(hidden.dtype, torch.float32)
        found = hidden.new_empty(len(hidden), dtype=wide)
        slopes = torch.empty_like(hidden) if at_once else None
        for part in parts(len(hidden), size):
            chances, found[part], factor = told(hidden[part], weight, bias, targets[part], bend)
            if slopes is not None:
                slopes[part] = misses(chances, targets[part], factor, bend).to(weight.dtype) @ weight
            del chances, factor  # or they would be there still while the next chunk's are made
        ctx.bend, ctx.size = bend, size
        ctx.save_for_backward(*((slopes,) if at_once else (hidden, weight, bias, targets)))
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of the hidden states and, where it is trained, of the head."""
        gradient = gradients[0]
        if not ctx.learns:
            (slopes,) = ctx.saved_tensors
            return (slopes * gradient[:, None].to(slopes.dtype), *[None] * 5)
        hidden, weight, bias, targets = ctx.saved_tensors
        found = torch.empty_like(hidden)
        by_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        by_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        for part in parts(len(hidden), ctx.size):
            chances, _, factor = told(hidden[part], weight, bias, targets[part], ctx.bend)
            slope = misses(chances, targets[part], factor, ctx.bend).mul_(gradient[part, None]).to(weight.dtype)
            torch.mm(slope, weight, out=found[part])
            if by_weight is not None:
                by_weight.addmm_(slope.T, hidden[part])
            if by_bias is not None:
                by_bias.add_(slope.sum(0))
            del chances, slope, factor
        return found, by_weight, by_bias, None, None, None


def parts(count: int, size: int) -> list[slice]:
    """Return the slices of at most so many positions."""
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


def told(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, bend: Bend
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return p of all tokens at some positions, -log p of each target, and what the cap makes of the slopes."""
    logits = F.linear(hidden, weight, bias)
    logits, factor = bend(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    return logits, surprise(logits, targets), factor


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of each target, and leave p in place of the logits."""
    wanted, most = logits.gather(1, targets[:, None])[:, 0], logits.amax(1)
    total = logits.sub_(most[:, None]).exp_().sum(1)
    logits.div_(total[:, None])
    return total.log_().add_(most).sub_(wanted)


def misses(chances: Tensor, targets: Tensor, factor: Tensor | None, bend: Bend) -> Tensor:
    """Return the slopes by what the head gave, in place of p: p, less 1 for the target, as it was bent."""
    chances[torch.arange(len(targets), device=targets.device), targets] -= 1
    if factor is not None:
        chances.mul_(factor)
    return chances.mul_(bend.scale) if bend.scale != 1.0 else chances
