"""Learn from pairs: raise what is preferred above what is not, and stay near the model that training began with.

Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290): with log π the summed log-probability of an
answer's tokens, its reward is β (log π − log π_ref), and the loss of a pair −log σ(reward chosen − reward rejected).

The reference is the very model before its first step: the base with an adapter that adds nothing yet, or all weights as
they were. Its log-probabilities never change, so they are computed once, two numbers a pair, and kept in the run's
folder; no second model is held, whether adapters are trained or all weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from anytune.local.encode import ChatEncoder, Encoder, Item
from anytune.local.runs import read_json, write_json
from anytune.local.training.batches import MicroBatch
from anytune.local.training.objective import Given, Outcome, Stage
from anytune.local.training.pair import Pair, PairEncoder
from anytune.local.training.team import Stopped


class Pairwise(Given):
    """Read pairs, and learn from them as they are."""

    rows, kind = 2, "pairs"
    lost = "are left out: both answers are the same, or one is cut off"

    def encoder(self, chats: ChatEncoder) -> Encoder[Item]:
        """Return what reads the records."""
        return PairEncoder(chats)

    def before(self, stage: Stage, examples: list[Item], *, role: str) -> list[Item]:  # noqa: ARG002
        """Leave the pairs as they are."""
        return examples

    def share(self, examples: Sequence[Item]) -> int:
        """Count the pairs."""
        return len(examples)


class Dpo(Pairwise):
    """Prefer one answer to another."""

    def __init__(self, *, beta: float) -> None:
        self.beta = beta

    def before(self, stage: Stage, examples: list[Item], *, role: str) -> list[Item]:
        """Give each pair what the reference says of it: as an earlier worker of this run found, or found now."""
        pairs: list[Any] = examples
        path = stage.run.path / f"reference-{role}.json"
        found = stage.team.told(lambda: (read_json(path) or {}).get("log_probabilities"))
        if found is None or len(found) != len(pairs):
            start, name = time.process_time(), f"{len(pairs)} pairs of the {role} file"
            stage.events.tell(f"asking the base about the {name}", pairs=len(pairs))
            found = reference(stage, pairs)
            if stage.team.rank == 0:
                write_json(path, {"log_probabilities": found})
            spent = time.process_time() - start
            stage.events.tell(f"the base was asked about the {name}", pairs=len(pairs), cpu_seconds=spent)
        return [replace(pair, reference=tuple(two)) for pair, two in zip(pairs, found, strict=True)]

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of the batch's pairs, and their rewards."""
        known = torch.tensor([pair.reference for pair in batch.items], dtype=torch.float64)
        found = stage.head.log_probabilities(stage.net, batch).view(-1, 2)
        rewards = self.beta * (found - known.to(found))
        return compared(rewards, wanted=0.0)


class Simpo(Pairwise):
    """Prefer one answer to another without a reference.

    Simple preference optimisation (Meng et al. 2024, arXiv:2405.14734): an answer's reward is β log π over its length,
    and the loss of a pair −log σ(reward chosen − reward rejected − γ).
    """

    def __init__(self, *, beta: float, gamma: float) -> None:
        self.beta = beta
        self.gamma = gamma

    def outcome(self, stage: Stage, batch: MicroBatch) -> Outcome:
        """Return the summed loss of the batch's pairs, and their rewards."""
        found = stage.head.log_probabilities(stage.net, batch)
        lengths = torch.tensor(batch.counts).to(found)
        return compared((self.beta * found / lengths).view(-1, 2), wanted=self.gamma)


def compared(rewards: Tensor, *, wanted: float) -> Outcome:
    """Return the summed loss of pairs by their rewards, of shape (pairs, 2), and what is told of these."""
    margins = rewards[:, 0] - rewards[:, 1]
    chosen, rejected = rewards.detach().sum(0).tolist()
    figures = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "margin": chosen - rejected,
        "accuracy": float((margins > 0).sum()),
    }
    return Outcome(-F.logsigmoid(margins - wanted).sum(), figures)


@torch.no_grad()
def reference(stage: Stage, pairs: Sequence[Pair]) -> list[list[float]]:
    """Return the log-probabilities of both answers of each pair under the model as it stands."""
    stage.net.eval()
    places = {id(pair): at for at, pair in enumerate(pairs)}
    found: dict[int, list[float]] = {}
    for batch in stage.shared(pairs):
        if stage.halts():
            raise Stopped
        told = stage.head.log_probabilities(stage.net, batch).view(-1, 2).tolist()
        if not batch.idle:
            found |= {places[id(pair)]: two for pair, two in zip(batch.items, told, strict=True)}
        if stage.events.due():
            stage.events.tell(f"asked the base about {len(found)} of {len(pairs)} pairs", pairs=len(found))
    stage.net.train()
    whole = {at: two for part in stage.team.all(list(found.items())) for at, two in part}
    return [whole[at] for at in range(len(pairs))]
