"""Fine-tuning that works the same on any provider: plan, submit, wait, evaluate.

import anytune

plan = anytune.plan("finetune.yaml", provider="together")   # free, offline, no key
job = anytune.submit(plan)
for job in anytune.wait(job.id):
    print(job.state)
print(anytune.evaluate(job.id))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anytune.errors import AnytuneError
    from anytune.library import (
        Tuner,
        cancel,
        check,
        convert,
        dedupe,
        evaluate,
        export,
        fix,
        hand_over,
        plan,
        refresh,
        split,
        submit,
        take_in,
        wait,
    )

__version__ = "0.1.0"
__all__ = [
    "AnytuneError",
    "Tuner",
    "__version__",
    "cancel",
    "check",
    "convert",
    "dedupe",
    "evaluate",
    "export",
    "fix",
    "hand_over",
    "plan",
    "refresh",
    "split",
    "submit",
    "take_in",
    "wait",
]


def __getattr__(name: str) -> Any:
    """Load the façade at first use, so that `import anytune` and `--help` are quick."""
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("anytune.errors" if name == "AnytuneError" else "anytune.library"), name)
    raise AttributeError(f"module 'anytune' has no attribute {name!r}")
