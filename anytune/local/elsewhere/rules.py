"""What becomes of a setting where our own trainer runs on another machine: what it does here, as far as it gets there.

A run takes its data and what is in its request with it: no adapter of this machine, and no file of rewards.
"""

from __future__ import annotations

from anytune.local import settings
from anytune.schema.plan import OWN_TRAINER_ALONE, Rule
from anytune.schema.spec import REINFORCEMENT
from anytune.schema.training import Method

METHODS: tuple[Method, ...] = ("sft", "dpo")
RULES: dict[str, Rule] = {
    **settings.RULES,
    **{path: OWN_TRAINER_ALONE[path] for path in ("from_checkpoint", *REINFORCEMENT)},
    "method": Rule(outcome="kept", choices=METHODS),
}
