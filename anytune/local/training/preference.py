"""Learn to tell which of two answers is preferred: a model that gives a chat a number, its score.

The score is a linear function of the last token's hidden state, as in transformers' `...ForSequenceClassification` with
one label, and the loss of a pair −log σ(score preferred − score other): the model of Bradley and Terry (1952), as
Ouyang et al. 2022 (arXiv:2203.02155) train it from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from anytune.errors import UsageError
from anytune.local.loading import Says
from anytune.local.training.batches import MicroBatch
from anytune.local.training.dpo import Pairwise, compared
from anytune.local.training.objective import Outcome, Stage


class ScoreHead:
    """Score sequences, as transformers does: at the last token that is not the one that fills up."""

    def __init__(self, net: Any) -> None:
        self.last: MicroBatch | None = None
        model = net.get_base_model() if hasattr(net, "get_base_model") else net
        if not hasattr(model, "score"):
            raise UsageError(f"no reward model is made of a {type(model).__name__}: it has no score layer")
        self._body, self._score = getattr(model, model.base_model_prefix), model.score
        self._filler = model.config.get_text_config().pad_token_id

    def scores(self, batch: MicroBatch) -> Tensor:
        """Return the score of each row, of shape (rows,), at least in float32."""
        self.last = batch
        assert batch.tree is None, "rows are scored side by side"
        device = next(self._body.parameters()).device
        hidden = self._body(input_ids=batch.ids.to(device), use_cache=False).last_hidden_state
        ends = [last(row.ids, self._filler) for item in batch.items for row in item.rows]
        found = hidden[torch.arange(len(ends), device=device), torch.tensor(ends, device=device)]
        scored: Tensor = self._score(found.to(torch.promote_types(found.dtype, torch.float32)))[:, 0]
        return scored


def last(ids: Sequence[int], filler: int | None) -> int:
    """Return the place of the last token that is not the filler; the last of all where there is none."""
    return next((at for at in range(len(ids) - 1, -1, -1) if ids[at] != filler), 0) if filler is not None else -1


class Preference(Pairwise):
    """Score the preferred answer above the other."""

    lost = "are left out: both answers are the same"
    opens: Says = "score"
    head: Callable[[Any], Any] = ScoreHead
    shares_beginnings = False

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of the batch's pairs, and their scores."""
        return compared(stage.head.scores(batch).view(-1, 2), wanted=0.0)
