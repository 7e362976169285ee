"""The output head, applied only where a token is supervised."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from anytune.local.batches import MicroBatch


class HeadFilter:
    """Let the output head see only the hidden states that are supervised, of any architecture.

    Logits then have shape (supervised, vocabulary). On a CPU with a large vocabulary this saves most of the time and
    of the memory, as answers are often a small part of a chat.
    """

    def __init__(self, net: Any) -> None:
        self.keep: Tensor | None = None
        net.get_output_embeddings().register_forward_pre_hook(self._filter)

    def _filter(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs if self.keep is None else (inputs[0][self.keep], *inputs[1:])

    def loss(self, net: Any, batch: MicroBatch) -> Tensor:
        """Return the summed cross-entropy of the supervised tokens."""
        device = next(net.parameters()).device
        self.keep = batch.predicts.to(device)
        logits = net(input_ids=batch.ids.to(device), use_cache=False).logits
        self.keep = None
        return F.cross_entropy(logits.float(), batch.targets.to(device), reduction="sum")
