"""The output head, applied only where a token is supervised."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytune.local.training.batches import MicroBatch


class HeadFilter:
    """Let the output head see only the hidden states that are supervised, of any architecture.

    Logits then have shape (supervised, vocabulary). On a CPU with a large vocabulary this saves most of the time and
    of the memory, as answers are often a small part of a chat. `last` is the batch that was computed last.
    """

    def __init__(self, net: Any) -> None:
        self.keep: Tensor | None = None
        self.last: MicroBatch | None = None
        net.get_output_embeddings().register_forward_pre_hook(self._filter)

    def _filter(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs if self.keep is None else (inputs[0][self.keep], *inputs[1:])

    def loss(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the summed cross-entropy of the supervised tokens."""
        return F.cross_entropy(*self._predictions(net, batch), reduction="sum")

    def log_probabilities(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the log-probability of each row's supervised tokens together, of shape (rows,)."""
        each = self.each_log_probability(net, batch)
        # Cut and summed row by row: adding into rows by index is not the same in every run on a GPU.
        return torch.stack([row.sum() for row in each.split(batch.predicts.sum(1).tolist())])

    def each_log_probability(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the log-probability of each supervised token, in the order of the batch's targets."""
        return -F.cross_entropy(*self._predictions(net, batch), reduction="none")

    def _predictions(self, net: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Return the logits of the supervised tokens, at least in float32, and the tokens."""
        self.last = batch
        device = next(net.parameters()).device
        self.keep = batch.predicts.to(device)
        logits = net(input_ids=batch.ids.to(device), use_cache=False).logits
        self.keep = None
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), batch.targets.to(device)
