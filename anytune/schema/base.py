"""The one way in which anytune's values are made: frozen, and closed to unknown keys.

No module of values puts off its annotations (`from __future__ import annotations`): pydantic would compile each of them
again, which takes as long as all else that it does as a class is made.
"""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Be a frozen value whose unknown keys are errors."""

    # Built at first use: a command makes values of a few kinds.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )
