"""Which objective a request asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anytune.local.training.dpo import Dpo, Simpo
from anytune.local.training.grpo import Grpo
from anytune.local.training.objective import Objective, Sft
from anytune.local.training.orpo import Orpo
from anytune.local.training.preference import Preference
from anytune.local.training.reward import Rewards


def objective_of(request: Mapping[str, Any]) -> Objective:
    """Return what a run is to learn."""
    settings, method = request["training"], request.get("method")
    if method == "rft":
        rewards = Rewards(request["rewards"])
        return Grpo(rewards, beta=settings["beta"], group_size=settings["group_size"], room=settings["max_new_tokens"])
    if method == "reward":
        return Preference()
    if method == "dpo" and "simpo_gamma" in settings:
        return Simpo(beta=settings["beta"], gamma=settings["simpo_gamma"])
    if method == "dpo" and "orpo_lambda" in settings:
        return Orpo(weight=settings["orpo_lambda"])
    return Dpo(beta=settings["beta"]) if method == "dpo" else Sft()
