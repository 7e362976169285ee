"""Learn answers and preferences at once, without a reference.

Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691): with m the mean log-probability of an answer's
tokens and odds e^m / (1 − e^m), the loss of a pair is −m of the preferred answer, as in supervised fine-tuning, and λ
times −log σ(log of its odds − log of the other's).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anytune.local.training.batches import MicroBatch
from anytune.local.training.dpo import Pairwise
from anytune.local.training.objective import Outcome, Stage

CERTAIN = -1e-7  # a mean log-probability above this counts as this: what is certain has no odds


class Orpo(Pairwise):
    """Say what is preferred, and make it likelier than the other answer."""

    def __init__(self, *, weight: float) -> None:
        self.weight = weight

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of the batch's pairs, and how far their odds are apart."""
        found = stage.head.log_probabilities(stage.net, batch)
        means = (found / torch.tensor(batch.counts).to(found)).view(-1, 2)
        odds = log_odds(means)
        apart = odds[:, 0] - odds[:, 1]
        surprise = -means[:, 0]
        figures = {
            "nll": float(surprise.detach().sum()),
            "margin": float(apart.detach().sum()),
            "accuracy": float((apart > 0).sum()),
        }
        return Outcome((surprise - self.weight * F.logsigmoid(apart)).sum(), figures)


def log_odds(means: Tensor) -> Tensor:
    """Return log(p / (1 − p)) by log p."""
    means = means.clamp(max=CERTAIN)
    return means - torch.log(-torch.expm1(means))
