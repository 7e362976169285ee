"""Judge answers by a reward model that was trained here: base and adapter as training saw them, or a whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from anytune.errors import UsageError
from anytune.local import loading
from anytune.local.artifact import read_origin
from anytune.local.encode import ChatEncoder, Encoded
from anytune.local.generate import add_adapter
from anytune.local.training.batches import micro_batches
from anytune.local.training.checkpoint import sha256
from anytune.local.training.preference import ScoreHead

MOST_TOKENS = 4096  # in one pass
SCORE = "base_model.model.score.weight"


class Scorer:
    """Hold a reward model, frozen."""

    def __init__(self, judge: Mapping[str, Any], *, name: str) -> None:
        """Open it; raise `UsageError` where its weights are others than when the job was made."""
        folder = Path(judge["folder"])
        for file, wanted in judge["sha256"].items():
            if not (folder / file).is_file() or sha256(folder / file) != wanted:
                raise UsageError(f"{name}: the reward model is gone or has changed: {folder / file}", fix="put it back")
        origin = read_origin(folder)
        model = origin.base if origin.adapter else str(folder)
        net = loading.open_base(model, quantize=origin.quantize, dtype=origin.dtype, says="score")
        if origin.adapter:
            add_adapter(net, folder)
            net.score.weight.data = load_file(folder / "adapter_model.safetensors")[SCORE].to(net.device)
        self._head = ScoreHead(net.eval())
        self._chats = ChatEncoder(loading.open_tokenizer(model), stop_ids=frozenset(origin.stop_ids))

    @torch.no_grad()
    def scores(self, chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[float]:
        """Return the score of each chat, which ends with the answer that is judged."""
        rows = [self._judged(chat, at) for at, chat in enumerate(chats)]
        found: dict[int, float] = {}
        for batch in micro_batches(rows, most_tokens=MOST_TOKENS, most_examples=None):
            found |= dict(zip((row.line for row in batch.items), self._head.scores(batch).tolist(), strict=True))
        return [found[at] for at in range(len(rows))]

    def _judged(self, chat: Sequence[Mapping[str, Any]], at: int) -> Encoded:
        """Encode a chat as the pairs were of which scores were learnt: up to the last answer, which alone counts."""
        before = [{**message, "weight": 0} if message.get("role") == "assistant" else message for message in chat[:-1]]
        (row,) = self._chats.encoded({"messages": [*before, chat[-1]]}, where="an answer that is judged", line=at)
        return row
